"""A mail server for tests, of Debian's python3-aiosmtpd. Prints its port; notes what it takes in FOLDER/taken, a JSON
object a line. FOLDER/reply holds the reply to RCPT TO (nothing for 250); while there is a file FOLDER/hang, it takes a mail and
does not answer.

smtp_server.py FOLDER plain|starttls|tls PORT [CERTIFICATE KEY]
"""
import asyncio
import json
import os
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

folder, security, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
certificate = sys.argv[4:6]


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        try:
            with open(os.path.join(folder, "reply")) as file:
                reply = file.read()
        except FileNotFoundError:
            reply = ""
        if reply:
            return reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        taken = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "data": envelope.content.decode("utf-8", "replace"),
            "encrypted": session.ssl is not None or security == "tls",
            "user": session.auth_data.decode() if session.auth_data else None,
        }
        with open(os.path.join(folder, "taken"), "a") as file:
            file.write(json.dumps(taken) + "\n")
        while os.path.exists(os.path.join(folder, "hang")):
            await asyncio.sleep(0.05)
        return "250 taken"


def authenticate(server, session, envelope, mechanism, auth_data):
    good = auth_data.login == b"iot" and auth_data.password == b"mail-password"
    return AuthResult(success=good, handled=True, auth_data=auth_data.login)


async def main():
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)

    def session():
        settings = {"hostname": "mail.test"}
        if security == "starttls":
            settings |= {"tls_context": context, "require_starttls": True}
        if security != "plain":
            settings |= {
                "authenticator": authenticate,
                "auth_required": True,
                "auth_require_tls": security == "starttls",
            }
        return SMTP(Handler(), **settings)

    loop = asyncio.get_running_loop()
    tls = context if security == "tls" else None
    server = await loop.create_server(session, "127.0.0.1", port, ssl=tls)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
