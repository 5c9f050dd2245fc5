"""An SMTP server that writes each mail into a folder: server.py FOLDER [PORT].

It prints its port. A mail is the file N.eml, whose first lines are the envelope: `X-From` and a `X-To` for each recipient.
Files in the folder control the answers, so that a test can change them while the server runs:

  refuse-data   answers the message with the content of the file, such as `451 later`
  break-data    closes the connection instead of an answer to the message, after the mail is written
  slow-data     waits 100 ms before it answers the message

A recipient `rejected@…` gets 550, and `busy@…` gets 450 while the file `busy` exists.
"""

import asyncio
import itertools
import pathlib
import sys

from aiosmtpd.smtp import SMTP


class Handler:
    def __init__(self, folder):
        self.folder = folder
        self.number = itertools.count(1 + len(list(folder.glob("*.eml"))))

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("rejected@"):
            return "550 5.1.1 no such mailbox"
        if address.startswith("busy@") and (self.folder / "busy").exists():
            return "450 4.2.1 the mailbox is busy"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        refuse = self.folder / "refuse-data"
        if refuse.exists():
            return refuse.read_text().strip()
        head = [f"X-From: {envelope.mail_from}", *(f"X-To: {address}" for address in envelope.rcpt_tos)]
        number = next(self.number)
        part = self.folder / f"{number}.part"
        part.write_bytes("\r\n".join(head).encode() + b"\r\n" + envelope.original_content)
        part.rename(self.folder / f"{number}.eml")
        if (self.folder / "slow-data").exists():
            await asyncio.sleep(0.1)
        if (self.folder / "break-data").exists():
            server.transport.abort()
        return "250 OK"


async def main():
    folder = pathlib.Path(sys.argv[1])
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    handler = Handler(folder)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(handler, hostname="test"), "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
