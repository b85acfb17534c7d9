# expect: script_timeout
# An endless loop that catches everything.
def map(record, context):
    if record.get('hostile'):
        while True:
            try:
                while True:
                    pass
            except BaseException:
                continue
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
