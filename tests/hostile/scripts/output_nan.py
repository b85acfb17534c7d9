# expect: delivered
# Not a number, in an attribute.
def map(record, context):
    if record.get('hostile'):
        return {'kind': 'entity', 'type': 'probe', 'key': 'contained', 'attributes': {'n': float('nan')}}
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
