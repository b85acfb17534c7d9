# expect: script_result|script_timeout|script_failed|script_crashed
# A result of twenty thousand levels.
def map(record, context):
    if record.get('hostile'):
        value = {}
        for _ in range(20_000):
            value = {'value': value}
        return value
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
