# expect: script_failed
# The environment.
def map(record, context):
    if record.get('hostile'):
        import os
        return {'kind': 'entity', 'type': 'probe', 'key': 'escaped' + str(os.getenv('HOME'))}
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
