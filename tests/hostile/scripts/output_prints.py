# expect: delivered
# Ten thousand lines.
def map(record, context):
    if record.get('hostile'):
        for i in range(10_000):
            print('x' * 100, i)
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
