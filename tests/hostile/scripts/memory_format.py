# expect: script_memory|script_crashed|script_failed|script_timeout
# A format that pads to a thousand million.
def map(record, context):
    if record.get('hostile'):
        text = '{:>1000000000}'.format('x')
        return {'kind': 'entity', 'type': 'probe', 'key': 'escaped'}
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
