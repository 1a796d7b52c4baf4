// The real `respite-server`, in a fresh directory, at a port that the system chooses.

import { execFile, spawn } from "node:child_process";
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

/** Where the Rust tests, or whoever runs these by hand, say that the program is. */
const PROGRAM = process.env.RESPITE_SERVER;

export class Server {
    #child;
    #config;
    directory;
    #private = [];

    static async start() {
        if (!PROGRAM) throw new Error("RESPITE_SERVER has to name the program respite-server");
        const server = new Server();
        server.directory = await mkdtemp(join(tmpdir(), "respite-interop-"));
        server.#config = join(server.directory, "respite.toml");
        const data = JSON.stringify(join(server.directory, "data"));
        await writeFile(
            server.#config,
            `[server]\ndata = ${data}\nlisten = "127.0.0.1:0"\n[operations]\nenabled = false\n`,
        );
        server.#child = spawn(PROGRAM, ["serve", "--config", server.#config], {
            stdio: ["ignore", "pipe", "inherit"],
        });
        process.once("exit", () => server.#child.kill());
        await server.#greets();
        return server;
    }

    /** Words that only people may read: `stop` looks for them in everything that the server has written. */
    may_not_hold(...words) {
        this.#private.push(...words);
    }

    /** Stops it in order, looks at what it has kept, and removes that. */
    async stop() {
        const ended = new Promise((resolve) => this.#child.once("exit", resolve));
        this.#child.kill("SIGTERM");
        const code = await ended;
        if (code !== 0) throw new Error(`the server ended with ${code}`);
        await promisify(execFile)(PROGRAM, ["scan", "--config", this.#config]);
        const paths = await readdir(this.directory, { recursive: true, withFileTypes: true });
        for (const file of paths.filter((entry) => entry.isFile())) {
            const bytes = await readFile(join(file.parentPath, file.name));
            const found = this.#private.find((words) => bytes.includes(words));
            if (found) throw new Error(`${file.name} holds “${found}”`);
        }
        await rm(this.directory, { recursive: true });
    }

    async #greets() {
        for await (const line of createInterface({ input: this.#child.stdout })) {
            this.url ??= /https?:\S+/.exec(line)?.[0];
            if (line.startsWith("    ")) {
                // The code stands alone on its line, after the address.
                this.firstCode = line.trim();
                return;
            }
        }
        throw new Error("the server ended before it served");
    }
}
