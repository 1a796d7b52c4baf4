import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { decodeRecoveryKey } from "matrix-js-sdk/lib/crypto-api/index.js";
import { Person } from "../lib/person.js";
import { Practice } from "../lib/practice.js";
import { until } from "../lib/until.js";

let practice;
before(async () => (practice = await Practice.open()));
after(() => practice?.close());

test("a nurse who loses the telephone reads everything on a new one, with the recovery key", async () => {
    const { nurse, therapist, roomId } = practice;
    const recovery = await nurse.sets_up_recovery();
    assert.ok(await nurse.crypto.isCrossSigningReady());
    assert.ok(await nurse.crypto.isSecretStorageReady());

    const question = await therapist.says(roomId, "How were the nights this week?");
    const answer = await nurse.says(roomId, "The third one was long.");
    await nurse.reads(roomId, question);
    const version = await nurse.crypto.getActiveSessionBackupVersion();
    await nurse.has_backed_up(2);

    const phone = await nurse.logs_in_elsewhere();
    practice.people.push(phone);
    phone.recoveryKey = decodeRecoveryKey(recovery);
    assert.ok(await phone.crypto.userHasCrossSigningKeys(nurse.id, true));
    await phone.crypto.bootstrapCrossSigning({});
    await phone.crypto.loadSessionBackupPrivateKeyFromSecretStorage();
    const backup = await phone.crypto.checkKeyBackupAndEnable();
    assert.equal(backup.backupInfo.version, version);
    assert.ok(backup.trustInfo.trusted);
    const restored = await phone.crypto.restoreKeyBackup();
    assert.ok(restored.imported >= 2, JSON.stringify(restored));

    assert.equal((await phone.reads(roomId, question)).getContent().body, "How were the nights this week?");
    assert.equal((await phone.reads(roomId, answer)).getContent().body, "The third one was long.");

    const device = await until("the therapist sees that the nurse has signed it", async () => {
        const status = await therapist.crypto.getDeviceVerificationStatus(nurse.id, phone.client.getDeviceId());
        return status?.signedByOwner && status;
    });
    assert.ok(device.signedByOwner);
});

test("a device is named by its id, whatever name the client gave it", async () => {
    const { devices } = await practice.nurse.client.getDevices();
    assert.ok(devices.length > 0);
    assert.ok(devices.every((device) => !device.display_name));
});

test("somebody who knows the password and not the recovery key cannot read", async () => {
    const { nurse, roomId } = practice;
    const told = await nurse.says(roomId, "Nobody else may read this.");
    const stranger = await nurse.logs_in_elsewhere();
    practice.people.push(stranger);
    const event = await until("the event is there", () => stranger.client.getRoom(roomId)?.findEventById(told));
    await until("it was tried", () => event.isDecryptionFailure());
    assert.doesNotMatch(event.getContent().body, /Nobody else/);
});

test("a code works once", async () => {
    const { server } = practice;
    const refused = await Person.register(server, "visitor", server.firstCode).catch((error) => error);
    assert.ok(["M_UNAUTHORIZED", "M_FORBIDDEN"].includes(refused.errcode), JSON.stringify(refused));
    assert.match(refused.error, /^[A-Z].* .*\.$/);
});
