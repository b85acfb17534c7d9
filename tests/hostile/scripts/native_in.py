# expect: script_timeout|script_memory
# A search over megabytes, quadratic.
def map(record, context):
    if record.get('hostile'):
        hay = 'a' * 4_000_000
        needle = 'a' * 2_000_000 + 'b'
        for _ in range(100_000):
            needle in hay
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
