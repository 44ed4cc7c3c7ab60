"""A plain door to a port that speaks TLS, for who speaks HTTP/2 by prior knowledge."""

import asyncio
import contextlib
import ssl
import threading


class PlainDoor:
    """Goes on as `h2` for who begins with HTTP/2's preface, and as HTTP/1.1 for others; for as long as the `with`."""

    def __init__(self, port):
        self.to, self.port = port, None
        self.loop = asyncio.new_event_loop()

    def __enter__(self):
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", 0), self.loop).result()
        self.port = server.sockets[0].getsockname()[1]
        return self

    async def _serve(self, reader, writer):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            first = await reader.readexactly(3)
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_alpn_protocols(["h2" if first == b"PRI" else "http/1.1"])
            inner, outer = await asyncio.open_connection("127.0.0.1", self.to, ssl=context)
            outer.write(first)
            await asyncio.gather(self._pass(reader, outer), self._pass(inner, writer))

    async def _pass(self, reader, writer):
        with contextlib.suppress(OSError), contextlib.closing(writer):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()

    async def _leave(self):
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def __exit__(self, *_):
        asyncio.run_coroutine_threadsafe(self._leave(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
