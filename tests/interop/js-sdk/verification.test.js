import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { VerificationPhase, VerifierEvent } from "matrix-js-sdk/lib/crypto-api/index.js";
import { Practice } from "../lib/practice.js";
import { until } from "../lib/until.js";

let practice;
before(async () => {
    practice = await Practice.open();
    for (const person of practice.people) await person.sets_up_recovery();
});
after(() => practice?.close());

/** The emoji that a verifier shows, which its person has compared by then. */
function compared(verifier) {
    return new Promise((resolve) => {
        verifier.on(VerifierEvent.ShowSas, (sas) => {
            resolve(sas.sas.emoji);
            sas.confirm();
        });
    });
}

/** Whether one device of somebody's knows another one. */
async function knows(one, other) {
    const devices = await one.crypto.getUserDeviceInfo([other.id]);
    return devices.get(other.id)?.has(other.client.getDeviceId());
}

/** Both compare emoji until both are done. */
async function verify(asking, request, answering) {
    const incoming = await until("the request has come", () =>
        answering.requests.find((other) => other.transactionId === request.transactionId),
    );
    await incoming.accept();
    await until("it was accepted", () => request.phase === VerificationPhase.Ready);
    const first = await request.startVerification("m.sas.v1");
    const seen = compared(first);
    const done = first.verify();
    const second = await until("the other has heard that it starts", () => incoming.verifier);
    const seen_too = compared(second);
    await Promise.all([done, second.verify()]);
    assert.deepEqual(await seen, await seen_too);
    assert.equal((await seen).length, 7);
    await until("both are done", () =>
        [request, incoming].every((each) => each.phase === VerificationPhase.Done),
    );
}

test("therapist and nurse compare emoji, and trust each other from then on", async () => {
    const { therapist, nurse, roomId } = practice;
    const trusted = async (who, whom) => (await who.crypto.getUserVerificationStatus(whom.id)).isVerified();
    assert.ok(!(await trusted(therapist, nurse)));
    const request = await therapist.crypto.requestVerificationDM(nurse.id, roomId);
    await verify(therapist, request, nurse);
    await until("the therapist trusts the nurse", () => trusted(therapist, nurse));
    await until("the nurse trusts the therapist", () => trusted(nurse, therapist));
});

test("a new telephone is verified by the old one, and gets the keys from it", async () => {
    const { therapist, nurse, roomId } = practice;
    const told = await therapist.says(roomId, "Said before the new telephone was there.");
    await nurse.reads(roomId, told);
    await nurse.has_backed_up(1);
    const phone = await nurse.logs_in_elsewhere();
    practice.people.push(phone);
    // A client drops, in silence, a request that comes from a device which it has not heard of yet.
    await until("both devices know each other", async () => (await knows(phone, nurse)) && knows(nurse, phone));
    const request = await phone.crypto.requestOwnUserVerification();
    await verify(phone, request, nurse);
    await until("the telephone can sign", () => phone.crypto.isCrossSigningReady());
    await until("it has the key of the backup", () => phone.crypto.getSessionBackupPrivateKey());
    await phone.reads(roomId, told);
});

test("who cancels is told so, with a sentence of the client's own", async () => {
    const { therapist, nurse, roomId } = practice;
    const request = await nurse.crypto.requestVerificationDM(therapist.id, roomId);
    const incoming = await until("the request has come", () =>
        therapist.requests.find((other) => other.transactionId === request.transactionId),
    );
    await incoming.cancel();
    await until("it is cancelled", () => request.phase === VerificationPhase.Cancelled);
    assert.equal(request.cancellationCode, "m.user");
});
