{{- define "muster-cluster.name" -}}
{{- .Values.name | default .Release.Name -}}
{{- end }}
