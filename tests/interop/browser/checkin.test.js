import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { M_POLL_START } from "matrix-js-sdk/lib/@types/polls.js";
import { chromium } from "playwright-core";
import { Practice } from "../lib/practice.js";
import { PATIENCE_MS, until } from "../lib/until.js";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));

/** The Rust cryptography. */
const WASM = "../node_modules/@matrix-org/matrix-sdk-crypto-wasm/pkg/matrix_sdk_crypto_wasm_bg.wasm";

/** The check-in of `docs/protocol.md`. */
const QUESTION = "How did you sleep?";
const CHECKIN = {
    "org.matrix.msc3381.poll.start": {
        question: { "org.matrix.msc1767.text": QUESTION },
        kind: "org.matrix.msc3381.poll.disclosed",
        max_selections: 1,
        answers: ["1 (badly)", "2", "3 (well)"].map((text, place) => ({
            "id": `${place + 1}`,
            "org.matrix.msc1767.text": text,
        })),
    },
    "org.matrix.msc1767.text": QUESTION,
    "body": QUESTION,
    "chat.respite.checkin": {
        id: "pQ7x_sleep",
        text: QUESTION,
        answer: { kind: "scale", low: 1, high: 3, low_label: "badly", high_label: "well" },
        asked_ts: 1700000000000,
    },
};

/** Serves the page, as any web server would that has nothing to do with the homeserver. */
async function serve_page() {
    const bundle = await build({
        entryPoints: [here("client.js")],
        bundle: true,
        format: "iife",
        write: false,
        define: { "global": "globalThis", "process.env.RESPITE_INTEROP_LOG": "undefined", "import.meta.url": "document.baseURI" },
    });
    const files = {
        "/": ["text/html", await readFile(here("page.html"))],
        "/client.js": ["text/javascript", bundle.outputFiles[0].contents],
        "/pkg/matrix_sdk_crypto_wasm_bg.wasm": ["application/wasm", await readFile(here(WASM))],
    };
    const web = createServer((request, response) => {
        const [type, bytes] = files[request.url] ?? [];
        response.writeHead(type ? 200 : 404, { "content-type": type ?? "text/plain" });
        response.end(bytes);
    });
    await new Promise((listening) => web.listen(0, "127.0.0.1", listening));
    return web;
}

let practice, web, browser;
before(async () => {
    practice = await Practice.open();
    web = await serve_page();
    browser = await chromium.launch({ executablePath: process.env.RESPITE_CHROMIUM, args: ["--no-sandbox"] });
});
after(async () => {
    await browser?.close();
    web?.close();
    await practice?.close();
});

/** Logs in at the page with this password. */
async function log_in(page, password) {
    await page.goto(`http://127.0.0.1:${web.address().port}/`);
    await page.fill("[name=server]", practice.server.url);
    await page.fill("[name=user]", "nurse");
    await page.fill("[name=password]", password);
    await page.click("form button");
}

test("a nurse logs in in a browser, reads a check-in and answers it by tapping", async () => {
    const { therapist, roomId, server } = practice;
    const page = await browser.newPage({ viewport: { width: 560, height: 640 } });
    page.setDefaultTimeout(PATIENCE_MS);
    await log_in(page, "not the password");
    await page.waitForFunction(() => document.getElementById("error").textContent.length > 0);
    assert.match(await page.textContent("#error"), /^[A-Z].*\.$/);

    await log_in(page, "nurse has a long password");
    await page.waitForSelector("#login", { state: "hidden" });
    const device = (await page.textContent("#who")).includes("@nurse:localhost");
    assert.ok(device);
    await until("the therapist knows the browser's device", async () => {
        const devices = await therapist.crypto.getUserDeviceInfo(["@nurse:localhost"], true);
        return devices.get("@nurse:localhost").size === 2;
    });

    await therapist.says(roomId, "Good morning. One question before you sleep.");
    server.may_not_hold(QUESTION);
    const { event_id: id } = await therapist.client.sendEvent(roomId, M_POLL_START.name, CHECKIN);
    await page.getByText("One question before you sleep.").waitFor();
    await page.getByRole("button", { name: "3 (well)" }).click();
    await page.locator("button[aria-pressed=true]").waitFor();
    if (process.env.RESPITE_SCREENSHOT) await page.screenshot({ path: process.env.RESPITE_SCREENSHOT });

    const poll = await until("the therapist knows the poll", () => therapist.client.getRoom(roomId).polls.get(id));
    const [answer] = await until("the answer has come", async () => {
        const found = (await poll.getResponses()).getRelations();
        return found.length > 0 && found;
    });
    assert.equal(answer.getSender(), "@nurse:localhost");
    assert.deepEqual(answer.getContent()["org.matrix.msc3381.poll.response"], { answers: ["3"] });
});
