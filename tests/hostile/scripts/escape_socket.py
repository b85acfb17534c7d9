# expect: script_failed
# A socket.
def map(record, context):
    if record.get('hostile'):
        import socket
        return {'kind': 'entity', 'type': 'probe', 'key': 'escaped'}
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
