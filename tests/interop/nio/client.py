"""A person whose client is made of matrix-nio and libolm. Does what it is told, one JSON object a line, and answers so."""

import asyncio
import json
import sys
import tempfile

import nio


class Person:
    def __init__(self, url, name):
        config = nio.AsyncClientConfig(encryption_enabled=True)
        self.directory = tempfile.TemporaryDirectory()
        self.client = nio.AsyncClient(url, name, store_path=self.directory.name, config=config)
        self.events = {}
        self.client.add_event_callback(self.heard, nio.Event)
        self.syncing = None

    async def heard(self, room, event):
        self.events[event.event_id] = event

    async def register(self, password, code):
        # The library expects another stage after the code and takes the session for an error: the account is there.
        await self.client.register_with_token(self.client.user, password, code)
        return await self.log_in(password)

    async def log_in(self, password):
        answer = await self.client.login(password, device_name="A terminal of my own")
        return await self.begins(answer)

    async def begins(self, answer):
        well(answer)
        well(await self.client.sync(timeout=0, full_state=True))
        if self.client.should_upload_keys:
            well(await self.client.keys_upload())
        self.syncing = asyncio.create_task(self.client.sync_forever(timeout=20_000))
        return {"user_id": self.client.user_id, "device_id": self.client.device_id}

    async def rooms(self):
        return {
            room_id: {"encrypted": room.encrypted, "members": sorted(room.users)}
            for room_id, room in self.client.rooms.items()
        }

    async def devices(self, user):
        return [device.id for device in self.client.device_store.active_user_devices(user)]

    async def trust(self, user):
        for device in self.client.device_store.active_user_devices(user):
            self.client.verify_device(device)

    async def send(self, room, type, content):
        answer = await self.client.room_send(room, type, content)
        return well(answer).event_id

    async def read(self, event):
        found = self.events.get(event)
        if found is None:
            return None
        if isinstance(found, nio.MegolmEvent):
            # Not readable when it came: perhaps it is now.
            try:
                found = self.client.decrypt_event(found)
            except nio.EncryptionError:
                return {"unreadable": True}
        return {"type": found.source["type"], "content": found.source["content"]}

    async def ask_for_key(self, event):
        well(await self.client.request_room_key(self.events[event]))

    async def export(self, file, passphrase):
        await self.client.export_keys(file, passphrase)

    async def take(self, file, passphrase):
        await self.client.import_keys(file, passphrase)

    async def redact(self, room, event, reason):
        return well(await self.client.room_redact(room, event, reason)).event_id

    async def receipt(self, room, event):
        well(await self.client.room_read_markers(room, event, event))

    async def leave(self):
        if self.syncing:
            self.syncing.cancel()
        well(await self.client.logout())
        await self.client.close()


class Refused(Exception):
    pass


def well(answer):
    if isinstance(answer, nio.ErrorResponse):
        raise Refused(answer.status_code, answer.message)
    return answer


async def main():
    person = Person(*sys.argv[1:])
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        wish = json.loads(line)
        number, name = wish.pop("number"), wish.pop("do")
        try:
            answer = {"said": await getattr(person, name)(**wish)}
        except Refused as refused:
            errcode, error = refused.args
            answer = {"refused": {"errcode": errcode, "error": error}}
        except Exception as error:  # noqa: BLE001: whatever it is, the test has to hear of it
            answer = {"failed": repr(error)}
        print(json.dumps({"number": number, **answer}), flush=True)


asyncio.run(main())
