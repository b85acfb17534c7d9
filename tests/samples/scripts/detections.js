// A vendor's detection becomes an alert, its host an entity, and a relationship between the two.
const SEVERITIES = { 30: 'low', 50: 'medium', 70: 'high', 90: 'critical' };

function map(record, context) {
  if (record.severity === 0) return null; // filtered
  console.log(`severity ${record.severity} of ${record.id}`);
  const host = record.host.name.toLowerCase();
  return [
    {
      kind: 'alert',
      external_id: record.id,
      title: `${record.name} on ${host}`,
      time: record.created ?? context.received_at,
      severity: SEVERITIES[record.severity] ?? 'unknown',
      observables: [{ type: 'ip', value: record.host.ip }],
      attributes: { score: record.severity },
    },
    { kind: 'entity', type: 'host', key: host, attributes: { ip: record.host.ip } },
    {
      kind: 'relationship',
      type: 'targets',
      source: { type: 'alert', key: record.id },
      target: { type: 'host', key: host },
    },
  ];
}
