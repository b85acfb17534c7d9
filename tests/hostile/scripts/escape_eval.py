# expect: script_failed
# `eval` and `exec`.
def map(record, context):
    if record.get('hostile'):
        return {'kind': 'entity', 'type': 'probe', 'key': 'escaped' + str(eval('1 + 1'))}
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
