import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, test } from "node:test";
import encryption from "matrix-encrypt-attachment";
import { Practice } from "../lib/practice.js";
import { until } from "../lib/until.js";

let practice, therapist, nurse, roomId;
before(async () => {
    practice = await Practice.open();
    ({ therapist, nurse, roomId } = practice);
});
after(() => practice?.close());

const body = (event) => event.getContent().body;

test("messages go both ways, and the server keeps ciphertext", async () => {
    const question = await therapist.says(roomId, "Good evening. How is the ward tonight?");
    const answer = await nurse.says(roomId, "Quiet so far.");
    const read = await nurse.reads(roomId, question);
    assert.equal(body(read), "Good evening. How is the ward tonight?");
    assert.ok(read.isEncrypted());
    assert.equal(body(await therapist.reads(roomId, answer)), "Quiet so far.");
});

test("an edited message reads as it was meant", async () => {
    const id = await nurse.says(roomId, "I sleep bad.");
    await nurse.sends(roomId, {
        "msgtype": "m.text",
        "body": "* I sleep badly.",
        "m.new_content": { msgtype: "m.text", body: "I sleep badly." },
        "m.relates_to": { rel_type: "m.replace", event_id: id },
    });
    await until("the therapist sees the edit", async () => {
        const event = await therapist.reads(roomId, id);
        return body(event) === "I sleep badly.";
    });
});

test("a reply names what it answers", async () => {
    const id = await therapist.says(roomId, "Did you try the breathing?");
    const reply = await nurse.sends(roomId, {
        "msgtype": "m.text",
        "body": "Twice.",
        "m.relates_to": { "m.in_reply_to": { event_id: id } },
    });
    assert.equal((await therapist.reads(roomId, reply)).replyEventId, id);
});

test("a thread holds together on both sides", async () => {
    const root = await therapist.says(roomId, "Let us keep the sleep diary here.");
    await nurse.reads(roomId, root);
    const first = await nurse.sends(roomId, { msgtype: "m.text", body: "Monday: five hours." }, root);
    const second = await nurse.sends(roomId, { msgtype: "m.text", body: "Tuesday: six." }, root);
    const thread = await until("the therapist sees the thread", () => {
        const found = therapist.client.getRoom(roomId).getThread(root);
        return found?.findEventById(second) && found;
    });
    assert.ok(thread.findEventById(first));
    assert.equal(body(await therapist.reads(roomId, second)), "Tuesday: six.");
    // Somebody who was not there while it grew gets it from the server.
    const tablet = await therapist.logs_in_elsewhere();
    practice.people.push(tablet);
    await until("the server has told of the thread", async () => {
        const room = await tablet.room(roomId);
        await room.createThreadsTimelineSets();
        await room.fetchRoomThreads();
        return room.getThread(root)?.length === 2;
    });
});

test("a check-in is answered by tapping a number of its poll", async () => {
    const { PollStartEvent } = await import("matrix-js-sdk/lib/extensible_events_v1/PollStartEvent.js");
    const { PollResponseEvent } = await import("matrix-js-sdk/lib/extensible_events_v1/PollResponseEvent.js");
    const { M_POLL_KIND_DISCLOSED } = await import("matrix-js-sdk/lib/@types/polls.js");
    const question = PollStartEvent.from("How did you sleep?", ["1 (badly)", "2", "3 (well)"], M_POLL_KIND_DISCLOSED);
    const { type, content } = question.serialize();
    practice.server.may_not_hold("How did you sleep?");
    const { event_id: id } = await therapist.client.sendEvent(roomId, type, content);

    const poll = await until("the nurse sees the poll", async () => {
        await nurse.reads(roomId, id);
        return nurse.client.getRoom(roomId).polls.get(id);
    });
    const tapped = poll.pollEvent.answers[2].id;
    const vote = PollResponseEvent.from([tapped], id).serialize();
    await nurse.client.sendEvent(roomId, vote.type, vote.content);

    const asked = await until("the therapist knows the poll", () => therapist.client.getRoom(roomId).polls.get(id));
    const [answer] = await until("the answer has come", async () => {
        const found = (await asked.getResponses()).getRelations();
        return found.length > 0 && found;
    });
    assert.equal(answer.getSender(), nurse.id);
    assert.deepEqual(PollResponseEvent.from([tapped], id).serialize().content, {
        ...answer.getContent(),
        "m.relates_to": answer.getWireContent()["m.relates_to"],
    });
});

test("a read receipt arrives, a private one does not", async () => {
    const id = await therapist.says(roomId, "Read me.");
    const event = await nurse.reads(roomId, id);
    await nurse.client.sendReadReceipt(event);
    await until("the therapist sees that it was read", () => {
        const room = therapist.client.getRoom(roomId);
        return room.hasUserReadEvent(nurse.id, id);
    });
    const later = await therapist.says(roomId, "Read me in private.");
    const unseen = await nurse.reads(roomId, later);
    await nurse.client.sendReadReceipt(unseen, "m.read.private");
    await nurse.client.setRoomReadMarkers(roomId, later, undefined, unseen);
    await nurse.says(roomId, "Something that comes after the receipt.");
    await until("it came", () => therapist.client.getRoom(roomId).timeline.at(-1)?.getSender() === nurse.id);
    const receipt = therapist.client.getRoom(roomId).getReadReceiptForUserId(nurse.id, true);
    assert.notEqual(receipt?.eventId, later);
});

test("what was redacted is gone on both sides, and no reason is kept", async () => {
    const id = await nurse.says(roomId, "I should not have written this.");
    await therapist.reads(roomId, id);
    practice.server.may_not_hold("I regret it");
    await nurse.client.redactEvent(roomId, id, undefined, { reason: "I regret it" });
    const event = await until("the therapist sees that it is gone", () => {
        const found = therapist.client.getRoom(roomId).findEventById(id);
        return found.isRedacted() && found;
    });
    assert.deepEqual(event.getContent(), {});
    assert.equal(event.getUnsigned().redacted_because.content.reason, undefined);
});

test("an encrypted file arrives as it was, and without its name", async () => {
    const sheet = Buffer.concat([Buffer.from("%PDF-1.7 sleep diary "), randomBytes(40_000)]);
    practice.server.may_not_hold("sleep-diary.pdf", sheet.subarray(100, 200));
    const { data, info } = await encryption.encryptAttachment(sheet);
    const { content_uri: url } = await nurse.client.uploadContent(Buffer.from(data), {
        type: "application/octet-stream",
        includeFilename: false,
    });
    const id = await nurse.sends(roomId, {
        msgtype: "m.file",
        body: "sleep-diary.pdf",
        info: { mimetype: "application/pdf", size: sheet.length },
        file: { ...info, url },
    });
    const { file } = (await therapist.reads(roomId, id)).getContent();
    const address = therapist.client.mxcUrlToHttp(file.url, undefined, undefined, undefined, false, true, true);
    const answer = await fetch(address, {
        headers: { authorization: `Bearer ${therapist.client.getAccessToken()}` },
    });
    assert.equal(answer.status, 200);
    const opened = await encryption.decryptAttachment(await answer.arrayBuffer(), file);
    assert.deepEqual(Buffer.from(opened), sheet);
});

test("a file that is not encrypted is refused", async () => {
    const plain = Buffer.from("%PDF-1.7\nA worksheet that anybody could read.\n".repeat(50));
    await assert.rejects(
        nurse.client.uploadContent(plain, { type: "application/pdf", name: "worksheet.pdf" }),
        (error) => error.errcode === "M_FORBIDDEN" && error.httpStatus === 403,
    );
});

test("a reaction is refused with a sentence, and the client goes on", async () => {
    const id = await therapist.says(roomId, "Would a reaction do?");
    await nurse.reads(roomId, id);
    const reaction = { "m.relates_to": { rel_type: "m.annotation", event_id: id, key: "👍" } };
    const refused = await nurse.client.sendEvent(roomId, "m.reaction", reaction).catch((error) => error);
    assert.equal(refused.errcode, "M_FORBIDDEN");
    assert.equal(refused.httpStatus, 403);
    assert.match(refused.data.error, /^Reactions are readable by the server.*message instead\.$/);
    // The client has given it up: it stands there as not sent, until the person takes it away.
    const [left, ...others] = nurse.client.getRoom(roomId).getPendingEvents();
    assert.equal(left.status, "not_sent");
    assert.deepEqual(others, []);
    nurse.client.cancelPendingEvent(left);
    const next = await nurse.says(roomId, "Then I say it in words.");
    assert.equal(body(await therapist.reads(roomId, next)), "Then I say it in words.");
});

test("a room that a client makes itself is encrypted, and its name is nobody's business", async () => {
    practice.server.may_not_hold("Night shift, ward 7");
    const { room_id: own } = await nurse.client.createRoom({
        preset: "trusted_private_chat",
        visibility: "private",
        is_direct: true,
        name: "Night shift, ward 7",
        invite: [therapist.id],
        initial_state: [
            { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } },
            { type: "m.room.guest_access", state_key: "", content: { guest_access: "can_join" } },
        ],
    });
    await until("the invitation has come", () => therapist.client.getRoom(own)?.getMyMembership() === "invite");
    await therapist.client.joinRoom(own);
    await nurse.room(own);
    await therapist.room(own);
    const id = await nurse.says(own, "Here we are by ourselves.");
    assert.equal(body(await therapist.reads(own, id)), "Here we are by ourselves.");
    assert.notEqual(nurse.client.getRoom(own).name, "Night shift, ward 7");
});

test("a room that is not encrypted is not made", async () => {
    const refused = await nurse.client.createRoom({ preset: "public_chat", name: "Lobby" }).then(
        ({ room_id: id }) => nurse.client.getStateEvent(id, "m.room.encryption", ""),
        (error) => error,
    );
    // Either it is refused, or the server has seen to it that it is encrypted.
    assert.ok(refused.errcode === "M_FORBIDDEN" || refused.algorithm === "m.megolm.v1.aes-sha2", `${refused}`);
});

test("typing is seen", async () => {
    await nurse.client.sendTyping(roomId, true, 20_000);
    await until("the therapist sees it", () => therapist.client.getRoom(roomId).getMember(nurse.id).typing);
    await nurse.client.sendTyping(roomId, false, 0);
    await until("the therapist sees the end of it", () => !therapist.client.getRoom(roomId).getMember(nurse.id).typing);
});
