// Waiting for what others do.

/** How long a test waits before it gives up: a slow machine that runs other tests too has to do it in this time. */
export const PATIENCE_MS = Number(process.env.RESPITE_INTEROP_PATIENCE_MS ?? 120_000);

/** The first truthy value of `look`, which is asked again and again. */
export async function until(what, look) {
    const end = Date.now() + PATIENCE_MS;
    while (Date.now() < end) {
        const found = await look();
        if (found) return found;
        await new Promise((resolve) => setTimeout(resolve, 25));
    }
    throw new Error(`waited in vain until ${what}`);
}
