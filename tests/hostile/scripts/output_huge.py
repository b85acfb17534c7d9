# expect: script_result|script_timeout|script_memory|value_too_large
# A result of twenty megabytes.
def map(record, context):
    if record.get('hostile'):
        return {'kind': 'entity', 'type': 'probe', 'key': 'k', 'attributes': {'text': 'x' * 20_000_000}}
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
