{{- define "muster.name" -}}
{{- .Values.fullnameOverride | default (printf "%s-operator" .Release.Name) | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- /* Of what has no namespace: two releases of one name in two namespaces must not meet. */ -}}
{{- define "muster.clusterName" -}}
{{- .Release.Namespace }}:{{ include "muster.name" . -}}
{{- end }}

{{- define "muster.selector" -}}
app.kubernetes.io/name: muster-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "muster.labels" -}}
{{ include "muster.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "muster.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "muster.name" .) "default" .Values.serviceAccount.create) -}}
{{- end }}

{{- define "muster.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{- define "muster.subject" -}}
- kind: ServiceAccount
  name: {{ include "muster.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{- /* What Go may use of the memory limit: 90 %, so that the collector works harder before the kernel kills. */ -}}
{{- define "muster.memoryLimit" -}}
{{- $limit := dig "limits" "memory" "" .Values.resources | toString -}}
{{- $units := dict "Mi" 1 "Gi" 1024 -}}
{{- if regexMatch "^[0-9]+[MG]i$" $limit -}}
{{- $number := regexFind "^[0-9]+" $limit | atoi -}}
{{- div (mul $number (get $units (regexFind "[MG]i$" $limit)) 9) 10 }}MiB
{{- end -}}
{{- end }}
