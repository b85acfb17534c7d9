# expect: script_failed
# A clock.
def map(record, context):
    if record.get('hostile'):
        from datetime import datetime
        return {'kind': 'entity', 'type': 'probe', 'key': 'escaped' + str(datetime.now())}
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
