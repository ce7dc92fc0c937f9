{{- define "cardveil.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "cardveil.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "cardveil.labels" -}}
{{ include "cardveil.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "cardveil.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}{{ else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{/* The configuration. No secret is in it. */}}
{{- define "cardveil.config" -}}
environment = {{ .Values.environment | toJson }}

[store]
postgres = {{ .Values.postgres.connection | toJson }}
{{- if .Values.postgres.passwordSecret.name }}
password_file = "/run/secrets/postgres/password"
{{- end }}
{{- if .Values.postgres.caSecret.name }}
postgres_ca = "/run/secrets/postgres-ca/ca.crt"
{{- end }}
{{- if .Values.postgres.plain }}
postgres_plain = true
{{- end }}
{{- if .Values.rootKeySecret.name }}

[keys]
root = "/run/secrets/root-key/root.key"
{{- end }}

[client]
origin = {{ .Values.clientOrigin | toJson }}

[listen]
merchant = "0.0.0.0:7410"
client = "0.0.0.0:7420"
admin = "0.0.0.0:7430"

[network]
trusted_proxies = {{ .Values.trustedProxies | toJson }}
proxy_protocol = {{ .Values.proxyProtocol | toJson }}

[shutdown]
delay_secs = {{ int .Values.shutdownDelaySecs }}
{{- range $listener := list "merchant" "client" }}
{{- with index $.Values.tls $listener }}
{{- if .secret }}

[tls.{{ $listener }}]
certificate = "/run/secrets/tls-{{ $listener }}/tls.crt"
key = "/run/secrets/tls-{{ $listener }}/tls.key"
{{- if .clientCa }}
client_ca = "/run/secrets/tls-{{ $listener }}/ca.crt"
client_certificates = {{ .clientCertificates | toJson }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.extraConfig }}

{{ . }}
{{- end }}
{{- end }}

{{/* What a pod may do: the "restricted" standard, and no more. */}}
{{- define "cardveil.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
# Files of Secrets are root's, and of this group.
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "cardveil.containerSecurity" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Where pods may run. */}}
{{- define "cardveil.scheduling" -}}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* One key of a Secret as a file. */}}
{{- define "cardveil.secretVolume" -}}
- name: {{ .volume }}
  secret:
    secretName: {{ .secret.name }}
    defaultMode: 0400
    items:
      - key: {{ .secret.key }}
        path: {{ .path }}
{{- end }}
