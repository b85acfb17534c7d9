# expect: script_failed
# Calls without end.
def map(record, context):
    if record.get('hostile'):
        def call(n):
            return call(n + 1) + 1
        call(0)
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
