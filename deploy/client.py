"""What a user does with the stack: the main job, and a load whose every event is looked for afterwards.

    client.py prove                       create, publish, send a signed webhook, see the alert
    client.py load NAME SECONDS RATE      send events; print accepted, refused and the longest pause as JSON
    client.py count NAME                  which of the accepted events are alerts, once each

Where and who: HALCYON_URL, HALCYON_CA, HALCYON_EMAIL, HALCYON_PASSWORD. Python's own library is enough.
"""

import hashlib
import hmac
import http.client
import json
import os
import ssl
import sys
import threading
import time
import urllib.parse
import uuid

SECRET = "a signing secret of the stack's own feed"
URL = urllib.parse.urlsplit(os.environ["HALCYON_URL"])
TLS = ssl.create_default_context(cafile=os.environ["HALCYON_CA"])
CONFIG = {
    "connection": {"auth": {"type": "hmac", "preset": "github", "secret": {"$secret": "signing"}}},
    "mapping": {
        "outputs": [
            {
                "kind": "alert",
                "fields": {
                    "external_id": "id",
                    "title": "name",
                    "severity": {"value": "high"},
                    "time": {"expr": "ts", "as": "timestamp"},
                },
            }
        ]
    },
    "runtime": {"parallelism": 4},
}


def connect(timeout=15):
    return http.client.HTTPSConnection(URL.hostname, URL.port, timeout=timeout, context=TLS)


class Api:
    """A signed-in user. What a gateway that is going away does not answer is asked for again."""

    def __init__(self):
        self.token = None
        login = {"email": os.environ["HALCYON_EMAIL"], "password": os.environ["HALCYON_PASSWORD"]}
        self.token = self.call("POST", "/auth/login", login)["access_token"]

    def call(self, method, path, body=None, expect=(200, 201, 202, 204)):
        headers = {"content-type": "application/json", "idempotency-key": str(uuid.uuid4())}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        deadline = time.monotonic() + 60
        while True:
            try:
                connection = connect()
                connection.request(method, f"/api/v1{path}", json.dumps(body) if body is not None else None, headers)
                answer = connection.getresponse()
                status, text = answer.status, answer.read()
                connection.close()
            except OSError as error:
                status, text = 0, str(error).encode()
            if status in expect:
                return json.loads(text) if text else None
            if status not in (0, 409, 502, 503, 504) or time.monotonic() > deadline:
                sys.exit(f"{method} {path}: {status} {text.decode(errors='replace')}")
            time.sleep(0.5)

    def wait(self, what, path, good, seconds=60):
        begun = time.monotonic()
        while True:
            answer = self.call("GET", path)
            if good(answer):
                return answer, time.monotonic() - begun
            if time.monotonic() - begun > seconds:
                sys.exit(f"{what}: not within {seconds} s: {json.dumps(answer)[:800]}")
            time.sleep(0.1)

    def feed(self, name):
        """The datasource of that name, published and running."""
        found = self.call("GET", f"/datasources?q={urllib.parse.quote(name)}")["items"]
        found = [one for one in found if one["name"] == name]
        if found:
            return found[0]["id"]
        made = self.call("POST", "/datasources", {"name": name, "type": "http_webhook", "config": CONFIG})
        self.call("PUT", f"/datasources/{made['id']}/secrets/signing", {"value": SECRET})
        self.call("POST", f"/datasources/{made['id']}/publish", {"comment": "the stack's own feed"})
        self.wait("the feed runs", f"/datasources/{made['id']}", lambda one: one["state"]["status"] == "RUNNING")
        return made["id"]


def send(connection, feed, key):
    """Sends one signed event; returns the status."""
    body = json.dumps({"id": key, "name": f"event {key}", "ts": int(time.time())}).encode()
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    connection.request(
        "POST",
        f"/ingest/{feed}",
        body,
        {"content-type": "application/json", "x-hub-signature-256": f"sha256={signature}", "x-github-delivery": key},
    )
    answer = connection.getresponse()
    answer.read()
    return answer.status


def prove():
    begun = time.monotonic()

    def say(what):
        print(f"{time.monotonic() - begun:6.1f} s  {what}", flush=True)

    api = Api()
    say(f"signed in at {URL.geturl()} (TLS, through the proxy)")
    name = f"proof {uuid.uuid4().hex[:8]}"
    feed = api.feed(name)
    say(f"datasource `{name}` created, its secret kept, version 1 published and RUNNING")
    key, tries = uuid.uuid4().hex, 1
    # A gateway that has not got the secret yet asks the sender to come again.
    while (status := send(connect(), feed, key)) == 503 and tries < 20:
        tries += 1
        time.sleep(0.5)
    if status != 202:
        sys.exit(f"the signed webhook was answered {status}")
    say(f"signed webhook: 202 (asked {tries} times)")
    forged = connect()
    forged.request("POST", f"/ingest/{feed}", b"{}", {"x-hub-signature-256": "sha256=" + "0" * 64})
    if (refused := forged.getresponse().status) != 401:
        sys.exit(f"a forged webhook was answered {refused}")
    say("forged webhook: 401")
    page, took = api.wait("the alert", f"/alerts?datasource={feed}", lambda page: len(page["items"]) == 1)
    alert = page["items"][0]
    if alert["external_id"] != key:
        sys.exit(f"another alert was found: {alert}")
    say(f"the alert is there, {took:.2f} s later: {alert['title']}, severity {alert['severity']}")
    trail = api.call("GET", "/audit?limit=200")["items"]
    say(f"audit trail: {len(trail)} newest entries, {sum(one.get('resource', {}).get('id') == feed for one in trail)} of this datasource")


def load(name, seconds, rate):
    api = Api()
    feed = api.feed(name)
    accepted, refused, lock = [], {}, threading.Lock()
    begun = time.monotonic()
    senders = 16

    def work(number):
        connection, sent = connect(5), 0
        while (now := time.monotonic() - begun) < seconds:
            due = (sent * senders + number) / rate
            if due > now:
                time.sleep(due - now)
            sent += 1
            key = uuid.uuid4().hex
            # A sender that is not answered 202 sends the same event again, as vendors do.
            while time.monotonic() - begun < seconds + 30:
                try:
                    status = send(connection, feed, key)
                except (OSError, http.client.HTTPException):
                    status = 0
                    connection.close()
                    connection = connect(5)
                with lock:
                    if status == 202:
                        accepted.append((key, time.monotonic() - begun))
                    else:
                        refused[status] = refused.get(status, 0) + 1
                if status == 202:
                    break
                time.sleep(0.2)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(senders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open(f".stack/accepted-{name}", "a", encoding="utf-8") as file:
        file.writelines(f"{key}\n" for key, _ in accepted)
    times = sorted(at for _, at in accepted)
    pause, at = max(((b - a, a) for a, b in zip([0.0, *times], times)), default=(seconds, 0.0))
    print(
        json.dumps(
            {
                "accepted": len(accepted),
                "not_202": {str(status): count for status, count in refused.items()},
                "longest_pause_s": round(pause, 2),
                "pause_at_s": round(at, 1),
            }
        )
    )


def count(name):
    api = Api()
    feed = api.feed(name)
    with open(f".stack/accepted-{name}", encoding="utf-8") as file:
        accepted = {line.strip() for line in file}
    begun = time.monotonic()
    while True:
        found, path = [], f"/alerts?datasource={feed}&limit=200"
        page = api.call("GET", path)
        found += page["items"]
        while page.get("next_cursor"):
            page = api.call("GET", f"{path}&cursor={page['next_cursor']}")
            found += page["items"]
        there = [alert["external_id"] for alert in found]
        lost = accepted - set(there)
        if not lost or time.monotonic() - begun > 90:
            break
        time.sleep(2)
    answer = {
        "accepted": len(accepted),
        "lost": len(lost),
        "twice": len(there) - len(set(there)) + sum(alert["revision"] > 1 for alert in found),
        "all_there_after_s": round(time.monotonic() - begun, 1),
    }
    print(json.dumps(answer))
    sys.exit(1 if lost or answer["twice"] else 0)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["prove"]:
            prove()
        case ["load", name, seconds, rate]:
            load(name, float(seconds), float(rate))
        case ["count", name]:
            count(name)
        case _:
            sys.exit(__doc__)
