# expect: script_failed|delivered|script_timeout
# Calls without end, caught.
def map(record, context):
    if record.get('hostile'):
        def call(n):
            try:
                return call(n + 1)
            except RecursionError:
                return 0
        call(0)
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
