# expect: script_failed|script_timeout
# Digits to an integer, quadratic.
def map(record, context):
    if record.get('hostile'):
        int('9' * 5_000_000)
        return {'kind': 'entity', 'type': 'probe', 'key': 'escaped'}
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
