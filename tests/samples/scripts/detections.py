# A vendor's detection becomes an alert, its host an entity, and a relationship between the two.
SEVERITIES = {30: "low", 50: "medium", 70: "high", 90: "critical"}


def map(record, context):
    if record["severity"] == 0:
        return None  # filtered
    print(f"severity {record['severity']} of {record['id']}")
    host = record["host"]["name"].lower()
    return [
        {
            "kind": "alert",
            "external_id": record["id"],
            "title": f"{record['name']} on {host}",
            "time": record.get("created") or context["received_at"],
            "severity": SEVERITIES.get(record["severity"], "unknown"),
            "observables": [{"type": "ip", "value": record["host"]["ip"]}],
            "attributes": {"score": record["severity"]},
        },
        {"kind": "entity", "type": "host", "key": host, "attributes": {"ip": record["host"]["ip"]}},
        {
            "kind": "relationship",
            "type": "targets",
            "source": {"type": "alert", "key": record["id"]},
            "target": {"type": "host", "key": host},
        },
    ]
