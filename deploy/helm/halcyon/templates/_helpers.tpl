{{- define "halcyon.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "halcyon.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "halcyon.labels" -}}
{{ include "halcyon.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: halcyon
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "halcyon.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* The services: their names, ports of health and metrics, where their values are, and which secrets they see. */ -}}
{{- define "halcyon.services" -}}
- { name: gateway, values: gateway, port: 8480, database: true, items: { audit: [audit-checkpoints.pub] } }
- { name: registry, values: registry, port: 8481, database: true, items: { kek: [kek.key] }, vault: true }
- { name: worker, values: worker, port: 8482, outside: true }
- { name: test-runner, values: testRunner, port: 8483, outside: true }
- { name: ontology, values: ontology, port: 8484, database: true }
- { name: audit, values: audit, port: 8485, database: true, items: { audit: [audit-checkpoints.key] } }
{{- end }}

{{- define "halcyon.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "halcyon.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{- /* Keys must be readable by their owner alone, which a mounted secret cannot be: they are copied into memory. */ -}}
{{- define "halcyon.copySecrets" -}}
name: secrets
image: {{ include "halcyon.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
command: [sh, -euc, 'install -m 0600 /mnt/secrets/* /run/secrets/']
securityContext: {{- include "halcyon.containerSecurity" . | nindent 2 }}
resources:
  requests: { cpu: 10m, memory: 16Mi }
  limits: { memory: 32Mi }
volumeMounts:
  - { name: mounted, mountPath: /mnt/secrets, readOnly: true }
  - { name: secrets, mountPath: /run/secrets }
{{- end }}

{{- define "halcyon.scheduling" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* halcyon.toml: what the chart knows, and `settings` over it. */ -}}
{{- define "halcyon.settings" -}}
{{- $health := dict }}
{{- range include "halcyon.services" . | fromYamlArray }}{{ $_ := set $health .name (printf "0.0.0.0:%d" (int .port)) }}{{ end }}
{{- $own := dict
  "mode" "production"
  "health" $health
  "bus" (dict "nkey_seed_file" "/run/secrets/nkey" "tls" (dict "ca_file" "/run/secrets/ca.crt"))
  "gateway" (dict "listen" "0.0.0.0:8080" "audit_public_keys" "/run/secrets/audit-checkpoints.pub")
  "registry" (dict "kek_file" "/run/secrets/kek.key")
  "audit" (dict "key_file" "/run/secrets/audit-checkpoints.key") }}
{{- if .Values.vault.url }}
{{- $vault := dict "url" .Values.vault.url "ca_file" "/run/secrets/ca.crt" "role_id_file" "/run/secrets/vault-role-id" "secret_id_file" "/run/secrets/vault-secret-id" }}
{{- $_ := set $own.registry "secrets" (dict "vault" $vault) }}
{{- end }}
{{- toToml (mergeOverwrite $own (deepCopy .Values.settings)) }}
{{- end }}
