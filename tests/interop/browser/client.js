// A client in a browser: matrix-js-sdk with its Rust cryptography and IndexedDB, and just enough of a page to log in, read,
// and answer a check-in by tapping.

import * as sdk from "matrix-js-sdk";
import { PollResponseEvent } from "matrix-js-sdk/lib/extensible_events_v1/PollResponseEvent.js";
import { PollEvent } from "matrix-js-sdk/lib/models/poll.js";
import { quiet } from "../lib/quiet.js";

const $ = (id) => document.getElementById(id);

/** An element with its text. */
function element(tag, text, attributes = {}) {
    return Object.assign(document.createElement(tag), { textContent: text, ...attributes });
}

async function log_in({ server, user, password }) {
    const visitor = sdk.createClient({ baseUrl: server, logger: quiet });
    const session = await visitor.loginRequest({
        type: "m.login.password",
        identifier: { type: "m.id.user", user },
        password,
    });
    const client = sdk.createClient({
        baseUrl: server,
        accessToken: session.access_token,
        userId: session.user_id,
        deviceId: session.device_id,
        logger: quiet,
    });
    await client.initRustCrypto();
    client.on(sdk.ClientEvent.Room, (room) => room.on(PollEvent.New, () => show(client)));
    client.on(sdk.ClientEvent.Sync, () => show(client));
    client.on(sdk.RoomEvent.Timeline, () => show(client));
    client.on(sdk.MatrixEventEvent.Decrypted, () => show(client));
    await client.startClient({ initialSyncLimit: 20, lazyLoadMembers: true, threadSupport: true });
    $("login").hidden = true;
    $("who").textContent = `${session.user_id}, on a device of their own`;
}

function show(client) {
    const shown = new Map([...$("timeline").children].map((card) => [card.id, card]));
    for (const room of client.getVisibleRooms()) {
        for (const event of room.getLiveTimeline().getEvents()) {
            const card = view(client, room, event);
            if (!card) continue;
            const old = shown.get(card.id);
            if (!old) $("timeline").append(card);
            else if (old.dataset.kind !== card.dataset.kind) old.replaceWith(card);
        }
    }
}

function view(client, room, event) {
    const card = element("section", "", { className: "card", id: event.getId() });
    card.dataset.kind = event.getType();
    const poll = room.polls.get(event.getId())?.pollEvent;
    if (poll) {
        card.append(element("small", event.getSender()), element("p", poll.question.text));
        for (const answer of poll.answers) {
            card.append(element("button", answer.text, { onclick: (tap) => choose(client, room, event, answer, tap.target) }));
        }
        return card;
    }
    if (event.getType() !== "m.room.message" || event.isDecryptionFailure()) return undefined;
    card.append(element("small", event.getSender()), element("p", event.getContent().body));
    return card;
}

async function choose(client, room, event, answer, button) {
    const vote = PollResponseEvent.from([answer.id], event.getId()).serialize();
    await client.sendEvent(room.roomId, vote.type, vote.content);
    button.setAttribute("aria-pressed", "true");
}

$("login").addEventListener("submit", (submit) => {
    submit.preventDefault();
    log_in(Object.fromEntries(new FormData(submit.target))).catch((error) => {
        $("error").textContent = error.data?.error ?? String(error);
    });
});
