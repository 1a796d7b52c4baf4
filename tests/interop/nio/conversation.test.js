import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { join } from "node:path";
import { NioPerson } from "../lib/nio.js";
import { Person } from "../lib/person.js";
import { Practice } from "../lib/practice.js";
import { until } from "../lib/until.js";

let practice, therapist, doctor, roomId;
before(async () => {
    practice = await Practice.open();
    therapist = practice.therapist;
    doctor = await NioPerson.register(practice.server, "doctor", await practice.code());
    practice.people.push(doctor);
    [roomId] = await until("the doctor has a room", async () => {
        const rooms = await doctor.does("rooms");
        const ids = Object.keys(rooms).filter((id) => rooms[id].members.length === 2 && rooms[id].encrypted);
        return ids.length > 0 && ids;
    });
    await therapist.room(roomId);
    await until("the therapist knows the doctor's device", async () => {
        const devices = await therapist.crypto.getUserDeviceInfo([doctor.id]);
        return devices.get(doctor.id)?.has(doctor.device);
    });
    await until("the doctor knows the therapist's device", async () => {
        const devices = await doctor.does("devices", { user: therapist.id });
        return devices.includes(therapist.client.getDeviceId());
    });
    await doctor.does("trust", { user: therapist.id });
});
after(() => practice?.close());

const body = (event) => event.getContent().body;

test("messages go both ways between libolm and vodozemac", async () => {
    const question = await therapist.says(roomId, "How long was the shift?");
    assert.equal((await doctor.reads(question)).content.body, "How long was the shift?");
    const answer = await doctor.says(roomId, "Thirteen hours.");
    const read = await therapist.reads(roomId, answer);
    assert.equal(body(read), "Thirteen hours.");
    assert.ok(read.isEncrypted());
});

test("a check-in is answered in words", async () => {
    const asked = await therapist.sends(roomId, {
        "msgtype": "m.text",
        "body": "What kept you awake?",
        "chat.respite.checkin": {
            id: "pQ7x_awake",
            text: "What kept you awake?",
            answer: { kind: "text" },
            asked_ts: 1700007200000,
        },
    });
    assert.equal((await doctor.reads(asked)).content.body, "What kept you awake?");
    const content = {
        "msgtype": "m.text",
        "body": "The telephone.",
        "m.relates_to": { "m.in_reply_to": { event_id: asked } },
    };
    const answer = await doctor.does("send", { room: roomId, type: "m.room.message", content });
    const read = await therapist.reads(roomId, answer);
    assert.equal(read.replyEventId, asked);
});

test("a reaction is refused with a sentence, and the client goes on", async () => {
    const id = await therapist.says(roomId, "Would a reaction do here?");
    await doctor.reads(id);
    // This library encrypts reactions too, but for the relation: that the server refuses as well.
    const content = { "m.relates_to": { rel_type: "m.annotation", event_id: id, key: "👍" } };
    const refused = await doctor
        .does("send", { room: roomId, type: "m.reaction", content })
        .catch((error) => error);
    assert.equal(refused.errcode, "M_FORBIDDEN");
    assert.match(refused.error, /^Reactions are readable by the server/);
    const next = await doctor.says(roomId, "So be it, in words.");
    assert.equal(body(await therapist.reads(roomId, next)), "So be it, in words.");
});

test("a redaction and a receipt arrive", async () => {
    practice.server.may_not_hold("wrong room, sorry");
    const id = await doctor.says(roomId, "Not meant for here.");
    await therapist.reads(roomId, id);
    await doctor.does("redact", { room: roomId, event: id, reason: "wrong room, sorry" });
    await until("it is gone", () => therapist.client.getRoom(roomId).findEventById(id).isRedacted());
    const told = await therapist.says(roomId, "I have seen it go.");
    await doctor.reads(told);
    await doctor.does("receipt", { room: roomId, event: told });
    await until("the receipt has come", () => therapist.client.getRoom(roomId).hasUserReadEvent(doctor.id, told));
});

test("a second device asks the first one for a key", async () => {
    const old = await therapist.says(roomId, "Written before the second device.");
    await doctor.reads(old);
    const laptop = await doctor.logs_in_elsewhere();
    practice.people.unshift(laptop);
    await until("the two know each other", async () => {
        const mine = await doctor.does("devices", { user: doctor.id });
        const other = await laptop.does("devices", { user: doctor.id });
        return mine.includes(laptop.device) && other.includes(doctor.device);
    });
    for (const device of [doctor, laptop]) await device.does("trust", { user: doctor.id });
    // The library shares keys only with a device that it has already written to.
    await laptop.reads(await doctor.says(roomId, "I have a laptop now."));
    const came = await until("the message is there", () => laptop.does("read", { event: old }));
    assert.ok(came.unreadable);
    await laptop.does("ask_for_key", { event: old });
    assert.equal((await laptop.reads(old)).content.body, "Written before the second device.");
});

test("a third device takes the keys from an encrypted file", async () => {
    const old = await therapist.says(roomId, "Written before the third device.");
    await doctor.reads(old);
    const file = join(practice.server.directory, "keys.txt");
    const passphrase = "a passphrase for the file";
    await doctor.does("export", { file, passphrase });
    const tablet = await doctor.logs_in_elsewhere();
    practice.people.unshift(tablet);
    await tablet.does("take", { file, passphrase });
    assert.equal((await tablet.reads(old)).content.body, "Written before the third device.");
});

test("a newcomer to matrix-js-sdk's backup changes nothing for the other family", async () => {
    await therapist.sets_up_recovery();
    const told = await therapist.says(roomId, "I have a recovery key now.");
    assert.equal((await doctor.reads(told)).content.body, "I have a recovery key now.");
    const visitor = await Person.register(practice.server, "visitor", await practice.code());
    practice.people.push(visitor);
    const mine = await visitor.own_room();
    await therapist.room(mine.roomId);
    await therapist.knows_devices_of(visitor);
    const hello = await therapist.says(mine.roomId, "Welcome.");
    assert.equal(body(await visitor.reads(mine.roomId, hello)), "Welcome.");
});
