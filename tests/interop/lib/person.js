// A person whose client is made of matrix-js-sdk and its Rust cryptography, as Element Web is.

import * as sdk from "matrix-js-sdk";
import { CryptoEvent } from "matrix-js-sdk/lib/crypto-api/index.js";
import { InteractiveAuth } from "matrix-js-sdk/lib/interactive-auth.js";
import { logger } from "matrix-js-sdk/lib/logger.js";
import { quiet } from "./quiet.js";
import { until } from "./until.js";

// What the library says while it works is not what a test says.
Object.assign(logger, quiet);

/** How many messages of a room the first sync brings. */
const INITIAL_MESSAGES = 20;

/** The ways to sync, by name. */
const SYNCS = {
    legacy: () => ({}),
};

export class Person {
    #password;
    #sync;

    /** Makes an account with a code, as a person does who fills in the form of Element Web. */
    static async register(server, name, code, { sync = "legacy" } = {}) {
        const password = `${name} has a long password`;
        const visitor = sdk.createClient({ baseUrl: server.url, logger: quiet });
        const form = new InteractiveAuth({
            matrixClient: visitor,
            doRequest: (auth) => visitor.registerRequest({ username: name, password, auth }),
            supportedStages: [sdk.AuthType.RegistrationToken, sdk.AuthType.Dummy],
            stateUpdated: (stage) => form.submitAuthDict({ type: stage, token: code }),
        });
        const session = await form.attemptAuth();
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
            ...SYNCS[this.#sync](this.client),
        });
        await until(`${this.id} has synced`, () => this.client.getSyncState() === "SYNCING");
    }

    #with_password(request) {
        const form = new InteractiveAuth({
            matrixClient: this.client,
            doRequest: request,
            supportedStages: [sdk.AuthType.Password],
            stateUpdated: (type) =>
                form.submitAuthDict({
                    type,
                    identifier: { type: "m.id.user", user: this.id },
                    password: this.#password,
                }),
        });
        return form.attemptAuth();
    }
}
