# expect: script_failed
# `__import__`.
def map(record, context):
    if record.get('hostile'):
        return {'kind': 'entity', 'type': 'probe', 'key': 'escaped' + str(__import__('os'))}
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
