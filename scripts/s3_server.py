"""The server of scripts/s3: moto on a free port, with faults on demand. Ends with its standard input."""

import argparse
import itertools
import logging
import os
import sys
import threading
import time
import urllib.request

os.environ.setdefault("AWS_ACCESS_KEY_ID", "test")
os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "test")

from moto.moto_server.werkzeug_app import (  # noqa: E402
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server  # noqa: E402

BUCKET = "results"
BODY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


class Faults:
    """Answers some requests with 503, before or after they take effect, and lets others wait."""

    def __init__(self, application, options):
        self.application = application
        self.options = options
        self.numbers = itertools.count(1)
        # moto compares and writes in two steps: with a lock of its own, one writer at a time.
        self.lock = threading.Lock()

    def __call__(self, environ, start_response):
        number = next(self.numbers)
        options = self.options
        if options.slow_every and number % options.slow_every == 0:
            time.sleep(options.slow_ms / 1000)
        if options.forgets_conditions:
            environ.pop("HTTP_IF_NONE_MATCH", None)
        fails = options.fail_every and number % options.fail_every == 0
        if fails and (number // options.fail_every) % 2:
            length = int(environ.get("CONTENT_LENGTH") or 0)
            environ["wsgi.input"].read(length)
            return self.refuse(start_response)
        with self.lock:
            if not fails:
                return self.application(environ, start_response)
            list(self.application(environ, lambda *_: None))
        return self.refuse(start_response)

    @staticmethod
    def refuse(start_response):
        start_response("503 Slow Down", [("Content-Type", "application/xml"), ("Content-Length", str(len(BODY)))])
        return [BODY]


class Handler(MotoRequestHandler):
    """Keeps connections open between requests, and logs nothing."""

    protocol_version = "HTTP/1.1"

    def log(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--fail-every", type=int, default=0)
    parser.add_argument("--slow-every", type=int, default=0)
    parser.add_argument("--slow-ms", type=int, default=0)
    parser.add_argument("--forgets-conditions", action="store_true")
    options = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application = DomainDispatcherApplication(create_backend_app)
    made = argparse.Namespace(fail_every=0, slow_every=0, slow_ms=0, forgets_conditions=False)
    faults = Faults(application, made)
    server = make_server("127.0.0.1", 0, faults, threaded=True, request_handler=Handler)
    url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    request = urllib.request.Request(f"{url}/{BUCKET}", method="PUT")
    request.add_header("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0")
    urllib.request.urlopen(request).read()
    faults.options = options
    print(url, flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
