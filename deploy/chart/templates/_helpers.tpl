{{- define "kaitoctl.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* Whether the webhook has pods of its own; empty when not. */}}
{{- define "kaitoctl.ownWebhook" -}}
{{- if and .Values.webhook.enabled (not .Values.webhook.inController) }}yes{{ end }}
{{- end }}

{{- define "kaitoctl.placement" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
