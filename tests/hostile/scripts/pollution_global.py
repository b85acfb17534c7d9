# expect: delivered
# A global for the next record.
def map(record, context):
    if record.get('hostile'):
        global left
        left = 'escaped'
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
