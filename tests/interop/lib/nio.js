// A person whose client is made of matrix-nio and libolm: a Python program that is told what to do.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { until } from "./until.js";

const PROGRAM = fileURLToPath(new URL("../nio/client.py", import.meta.url));

export class NioPerson {
    #child;
    #waiting = new Map();
    #asked = 0;

    static async register(server, name, code) {
        const person = new NioPerson(server, name);
        await person.#begins("register", { code });
        return person;
    }

    async logs_in_elsewhere() {
        const device = new NioPerson(this.server, this.name);
        await device.#begins("log_in", {});
        return device;
    }

    constructor(server, name) {
        Object.assign(this, { server, name });
        const python = process.env.RESPITE_NIO;
        if (!python) throw new Error("RESPITE_NIO has to name a Python that has matrix-nio");
        this.#child = spawn(python, [PROGRAM, server.url, name], { stdio: ["pipe", "pipe", "inherit"] });
        process.once("exit", () => this.#child.kill());
        createInterface({ input: this.#child.stdout }).on("line", (line) => this.#hears(JSON.parse(line)));
        this.#child.once("exit", (code) => this.#hears({ failed: `the client ended with ${code}` }));
    }

    /** Has it do something. Rejects with the server's error if that was refused. */
    does(what, wish = {}) {
        this.#asked += 1;
        const number = this.#asked;
        return new Promise((resolve, reject) => {
            this.#waiting.set(number, { resolve, reject });
            this.#child.stdin.write(`${JSON.stringify({ number, do: what, ...wish })}\n`);
        });
    }

    says(room, body) {
        this.server.may_not_hold(body);
        return this.does("send", { room, type: "m.room.message", content: { msgtype: "m.text", body } });
    }

    /** The event, once it is here and readable. */
    reads(event) {
        return until(`${this.id} can read ${event}`, async () => {
            const found = await this.does("read", { event });
            return found && !found.unreadable && found;
        });
    }

    async leaves() {
        await this.does("leave");
        const ended = once(this.#child, "exit");
        this.#child.stdin.end();
        await ended;
    }

    async #begins(how, wish) {
        const session = await this.does(how, { password: `${this.name} has a long password`, ...wish });
        this.id = session.user_id;
        this.device = session.device_id;
    }

    #hears({ number, said, refused, failed }) {
        const waiting = number ? [number] : [...this.#waiting.keys()];
        for (const each of waiting) {
            const { resolve, reject } = this.#waiting.get(each);
            this.#waiting.delete(each);
            if (failed) reject(new Error(failed));
            else if (refused) reject(Object.assign(new Error(refused.error), refused));
            else resolve(said);
        }
    }
}
