# expect: script_timeout
# A `finally` that goes on.
def map(record, context):
    if record.get('hostile'):
        while True:
            try:
                x = 1
            finally:
                continue
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
