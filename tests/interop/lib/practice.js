// A practice as most tests need it: a server, a therapist, and a night nurse in a therapy room with them.

import { Person } from "./person.js";
import { Server } from "./server.js";

export class Practice {
    static async open(options) {
        const practice = new Practice();
        practice.server = await Server.start();
        practice.therapist = await Person.register(practice.server, "therapist", practice.server.firstCode, options);
        practice.nurse = await Person.register(practice.server, "nurse", await practice.code(), options);
        practice.people = [practice.therapist, practice.nurse];
        const room = await practice.nurse.own_room();
        practice.roomId = room.roomId;
        await practice.therapist.room(room.roomId);
        await practice.therapist.knows_devices_of(practice.nurse);
        await practice.nurse.knows_devices_of(practice.therapist);
        return practice;
    }

    /** A code for another client of the therapist's. */
    async code() {
        const answer = await this.therapist.client.http.authedRequest(
            "POST",
            "/invites",
            undefined,
            { kind: "individual" },
            { prefix: "/_matrix/client/unstable/chat.respite" },
        );
        return answer.code;
    }

    /** Everybody goes, and what the server has kept is looked at. */
    async close() {
        for (const person of this.people) await person.leaves();
        await this.server.stop();
    }
}
