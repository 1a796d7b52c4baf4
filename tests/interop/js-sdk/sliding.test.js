// The same library with sliding sync (MSC4186), as Element Web has it in its labs.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { SlidingSyncSdk } from "matrix-js-sdk/lib/sliding-sync-sdk.js";
import { Practice } from "../lib/practice.js";
import { until } from "../lib/until.js";

let practice, therapist, nurse, roomId;
before(async () => {
    practice = await Practice.open({ sync: "sliding" });
    ({ therapist, nurse, roomId } = practice);
});
after(() => practice?.close());

const body = (event) => event.getContent().body;

test("it is sliding sync that these clients use", () => {
    for (const person of practice.people) assert.ok(person.client.syncApi instanceof SlidingSyncSdk);
    assert.equal(nurse.client.getRoom(roomId).getMyMembership(), "join");
});

test("messages go both ways, and the server keeps ciphertext", async () => {
    const question = await therapist.says(roomId, "Good evening. Which shift is it tonight?");
    const answer = await nurse.says(roomId, "The long one.");
    const read = await nurse.reads(roomId, question);
    assert.equal(body(read), "Good evening. Which shift is it tonight?");
    assert.ok(read.isEncrypted());
    assert.equal(body(await therapist.reads(roomId, answer)), "The long one.");
});

test("a read receipt arrives", async () => {
    const id = await therapist.says(roomId, "Read me.");
    await nurse.client.sendReadReceipt(await nurse.reads(roomId, id));
    await until("the therapist sees that it was read", () => {
        return therapist.client.getRoom(roomId).hasUserReadEvent(nurse.id, id);
    });
});

test("typing is seen, and its end", async () => {
    const types = () => therapist.client.getRoom(roomId).getMember(nurse.id)?.typing;
    await nurse.client.sendTyping(roomId, true, 20_000);
    await until("the therapist sees it", () => types());
    await nurse.client.sendTyping(roomId, false, 0);
    await until("the therapist sees the end of it", () => !types());
});

test("a reaction is refused with a sentence, and the client goes on", async () => {
    const id = await therapist.says(roomId, "Would a reaction do?");
    await nurse.reads(roomId, id);
    const reaction = { "m.relates_to": { rel_type: "m.annotation", event_id: id, key: "👍" } };
    const refused = await nurse.client.sendEvent(roomId, "m.reaction", reaction).catch((error) => error);
    assert.equal(refused.errcode, "M_FORBIDDEN");
    assert.match(refused.data.error, /^Reactions are readable by the server.*message instead\.$/);
    const [left] = nurse.client.getRoom(roomId).getPendingEvents();
    nurse.client.cancelPendingEvent(left);
    const next = await nurse.says(roomId, "Then I say it in words.");
    assert.equal(body(await therapist.reads(roomId, next)), "Then I say it in words.");
    assert.equal(nurse.client.getSyncState(), "SYNCING");
});

test("an invitation comes by itself, and the room when it is accepted", async () => {
    const { room_id: own } = await nurse.client.createRoom({
        preset: "trusted_private_chat",
        visibility: "private",
        is_direct: true,
        invite: [therapist.id],
        initial_state: [
            { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } },
        ],
    });
    await until("the invitation has come", () => {
        const room = therapist.client.getRoom(own);
        return room?.getMember(therapist.id)?.membership === "invite";
    });
    await therapist.client.joinRoom(own);
    await nurse.room(own);
    await therapist.room(own);
    const id = await nurse.says(own, "Here we are by ourselves.");
    assert.equal(body(await therapist.reads(own, id)), "Here we are by ourselves.");
});

test("a device that comes later has the rooms, and goes on from there", async () => {
    const tablet = await nurse.logs_in_elsewhere();
    practice.people.push(tablet);
    await tablet.room(roomId);
    await therapist.knows_devices_of(tablet);
    const id = await therapist.says(roomId, "You may read this on both.");
    assert.equal(body(await tablet.reads(roomId, id)), "You may read this on both.");
    assert.equal(body(await nurse.reads(roomId, id)), "You may read this on both.");
});

test("what was redacted is gone on both sides", async () => {
    const id = await nurse.says(roomId, "I should not have written this.");
    await therapist.reads(roomId, id);
    await nurse.client.redactEvent(roomId, id);
    await until("the therapist sees that it is gone", () => {
        return therapist.client.getRoom(roomId).findEventById(id).isRedacted();
    });
});
