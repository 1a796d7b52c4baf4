// A person whose client is made of matrix-js-sdk and its Rust cryptography, as Element Web is.

import * as sdk from "matrix-js-sdk";
import { CryptoEvent } from "matrix-js-sdk/lib/crypto-api/index.js";
import { AuthType, InteractiveAuth } from "matrix-js-sdk/lib/interactive-auth.js";
import { logger } from "matrix-js-sdk/lib/logger.js";
import { SlidingSync } from "matrix-js-sdk/lib/sliding-sync.js";
import { quiet } from "./quiet.js";
import { until } from "./until.js";

// What the library says while it works is not what a test says.
Object.assign(logger, quiet);

/** How many messages of a room the first sync brings. */
const INITIAL_MESSAGES = 20;

/** How long the server may let a client wait that has rooms on its screen. */
const WAIT_MS = 20_000;

/** What such a client wants to know of a room. */
const ON_SCREEN = {
    timeline_limit: INITIAL_MESSAGES,
    required_state: [
        ["m.room.create", ""],
        ["m.room.encryption", ""],
        ["m.room.name", ""],
        ["m.room.join_rules", ""],
        ["m.room.power_levels", ""],
        ["m.room.member", "$ME"],
        ["m.room.member", "$LAZY"],
    ],
};

/** The ways to sync, by name. */
const SYNCS = {
    legacy: () => ({}),
    sliding: (client) => {
        const lists = new Map([["all", { ranges: [[0, 19]], ...ON_SCREEN }]]);
        return { slidingSync: new SlidingSync(client.baseUrl, lists, ON_SCREEN, client, WAIT_MS) };
    },
};

export class Person {
    #password;
    #sync;

    /** Makes an account with a code, as a person does who fills in the form of Element Web. */
    static async register(server, name, code, { sync = "legacy" } = {}) {
        const password = `${name} has a long password`;
        const visitor = sdk.createClient({ baseUrl: server.url, logger: quiet });
        const register = (auth) => visitor.registerRequest({ username: name, password, auth });
        const session = await proves(visitor, register, (type) => ({ type, token: code }));
        const person = new Person(server, session, password, sync);
        await person.#starts();
        return person;
    }

    /** The same person logs in on another device, which knows nothing yet. */
    async logs_in_elsewhere() {
        const visitor = sdk.createClient({ baseUrl: this.server.url, logger: quiet });
        const session = await visitor.loginRequest({
            type: "m.login.password",
            identifier: { type: "m.id.user", user: this.id },
            password: this.#password,
            initial_device_display_name: "A telephone of my own",
        });
        const device = new Person(this.server, session, this.#password, this.#sync);
        await device.#starts();
        return device;
    }

    constructor(server, session, password, sync) {
        this.server = server;
        this.id = session.user_id;
        this.#password = password;
        this.#sync = sync;
        this.client = sdk.createClient({
            baseUrl: server.url,
            accessToken: session.access_token,
            userId: session.user_id,
            deviceId: session.device_id,
            logger: quiet,
            timelineSupport: true,
            cryptoCallbacks: {
                getSecretStorageKey: async ({ keys }) => [Object.keys(keys)[0], this.recoveryKey],
                cacheSecretStorageKey: (_id, _info, key) => (this.recoveryKey = key),
            },
        });
        this.requests = [];
        this.client.on(CryptoEvent.VerificationRequestReceived, (request) => this.requests.push(request));
    }

    get crypto() {
        return this.client.getCrypto();
    }

    async leaves() {
        this.client.stopClient();
        await this.client.logout(true);
    }

    /** Cross-signing, secret storage and key backup, as Element Web sets them up after registration. Returns the
     * recovery key. */
    async sets_up_recovery() {
        await this.crypto.bootstrapCrossSigning({
            setupNewCrossSigning: true,
            authUploadDeviceSigningKeys: (request) => this.#with_password(request),
        });
        await this.crypto.bootstrapSecretStorage({
            setupNewSecretStorage: true,
            setupNewKeyBackup: true,
            createSecretStorageKey: async () => {
                const key = await this.crypto.createRecoveryKeyFromPassphrase();
                this.recoveryKey = key.privateKey;
                this.readableKey = key.encodedPrivateKey;
                return key;
            },
        });
        return this.readableKey;
    }

    /** Waits until so many room keys are in the backup, which the library begins after a random pause. */
    has_backed_up(keys) {
        return until(`${this.id} has backed up ${keys} keys`, async () => {
            // The library asks once and remembers.
            const backup = await this.client.http.authedRequest("GET", "/room_keys/version");
            return backup.count >= keys;
        });
    }

    /** A room by its id, once this client knows it with so many members. */
    room(id, members = 2) {
        return until(`${this.id} is in ${id}`, () => {
            const room = this.client.getRoom(id);
            return room?.getJoinedMemberCount() >= members && room.hasEncryptionStateEvent() && room;
        });
    }

    /** The room that a code has brought this person into. */
    async own_room() {
        const [room] = await until(`${this.id} has a room`, () => {
            const rooms = this.client.getVisibleRooms();
            return rooms.length > 0 && rooms;
        });
        return this.room(room.roomId);
    }

    /** Waits until messages to that person can be read by the device that they are at. */
    knows_devices_of(other) {
        return until(`${this.id} knows the device of ${other.id}`, async () => {
            const devices = await this.crypto.getUserDeviceInfo([other.id]);
            return devices.get(other.id)?.has(other.client.getDeviceId());
        });
    }

    /** Sends, and says under which id the server has it. */
    async sends(roomId, content, thread = null) {
        return (await this.client.sendMessage(roomId, thread, content)).event_id;
    }

    says(roomId, body) {
        this.server.may_not_hold(body);
        return this.sends(roomId, { msgtype: "m.text", body });
    }

    /** The event, once it is here and readable. */
    reads(roomId, eventId) {
        return until(`${this.id} can read ${eventId}`, async () => {
            const event = this.client.getRoom(roomId)?.findEventById(eventId);
            if (!event) return undefined;
            await this.client.decryptEventIfNeeded(event);
            const readable = !event.isBeingDecrypted() && !event.isDecryptionFailure();
            return readable && event.getType() !== "m.room.encrypted" && event;
        });
    }

    async #starts() {
        await this.client.initRustCrypto({ useIndexedDB: false });
        await this.client.startClient({
            initialSyncLimit: INITIAL_MESSAGES,
            lazyLoadMembers: true,
            threadSupport: true,
            pendingEventOrdering: "detached",
            ...SYNCS[this.#sync](this.client),
        });
        await until(`${this.id} has synced`, () => this.client.getSyncState() === "SYNCING");
    }

    /** Says who they are once more, where the server asks for it. */
    #with_password(request) {
        const identifier = { type: "m.id.user", user: this.id };
        return proves(this.client, request, (type) => ({ type, identifier, password: this.#password }));
    }
}

/** Fills in the form that a request asks for. Rejects with what the form would say to the person. */
function proves(matrixClient, doRequest, proof) {
    return new Promise((resolve, reject) => {
        const form = new InteractiveAuth({
            matrixClient,
            doRequest,
            supportedStages: [AuthType.RegistrationToken, AuthType.Password, AuthType.Dummy],
            stateUpdated: (stage, said) => (said.errcode ? reject(said) : form.submitAuthDict(proof(stage))),
        });
        form.attemptAuth().then(resolve, reject);
    });
}
