# expect: script_failed|delivered
# An attribute of a module, for the next record.
def map(record, context):
    if record.get('hostile'):
        import json
        json.dumps = lambda value: 'escaped'
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
