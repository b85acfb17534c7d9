# expect: script_failed
# The environment as a whole.
def map(record, context):
    if record.get('hostile'):
        import os
        return {'kind': 'entity', 'type': 'probe', 'key': 'escaped' + str(dict(os.environ))}
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
