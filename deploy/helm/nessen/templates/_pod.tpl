{{/* Parts of the pod that are long enough to stand alone. */}}

{{/* Longer than the drain can take, so that the kubelet kills nothing that is still being answered. */}}
{{- define "nessen.grace" -}}
{{- with .Values.shutdown }}
{{- add .drainDelaySeconds .drainTimeoutSeconds .marginSeconds }}
{{- end }}
{{- end }}

{{- define "nessen.volumes" -}}
{{- if .Values.configFile }}
- name: config
  configMap:
    name: {{ include "nessen.named" (list . "file") }}
{{- end }}
{{- $external := and .Values.externalSecret.enabled .Values.externalSecret.data }}
{{- if or .Values.secrets $external }}
- name: secrets
  projected:
    defaultMode: 0444
    sources:
      {{- range .Values.secrets }}
      - secret:
          name: {{ .existingSecret }}
          items: [{key: {{ .key | quote }}, path: {{ .name }}}]
      {{- end }}
      {{- if $external }}
      - secret:
          name: {{ include "nessen.named" (list . "external") }}
      {{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "nessen.affinity" -}}
{{- if .Values.affinity }}
{{- toYaml .Values.affinity }}
{{- else -}}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels: {{- include "nessen.selectorLabels" . | nindent 12 }}
{{- end }}
{{- end }}

{{- define "nessen.spread" -}}
{{- if .Values.topologySpreadConstraints }}
{{- toYaml .Values.topologySpreadConstraints }}
{{- else -}}
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- maxSkew: 1
  topologyKey: {{ . }}
  whenUnsatisfiable: ScheduleAnyway
  nodeTaintsPolicy: Honor
  labelSelector:
    matchLabels: {{- include "nessen.selectorLabels" $ | nindent 6 }}
  # Each rollout by itself: else the pods that are about to go decide where new ones run.
  matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end }}
{{- end }}
