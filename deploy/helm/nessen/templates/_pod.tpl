{{/* Parts of the pod that are long enough to stand alone. */}}

{{/* Longer than the drain can take, so that the kubelet kills nothing that is still being answered. */}}
{{- define "nessen.grace" -}}
{{- with .Values.shutdown }}
{{- add .drainDelaySeconds .drainTimeoutSeconds .marginSeconds }}
{{- end }}
{{- end }}

{{- define "nessen.mounts" -}}
{{- if .Values.configFile }}
- {name: config, mountPath: /etc/nessen, readOnly: true}
{{- end }}
{{- if include "nessen.secretNames" . | fromYamlArray }}
- {name: secrets, mountPath: /run/secrets/nessen, readOnly: true}
{{- end }}
{{- if .Values.tls.enabled }}
- {name: tls, mountPath: /run/tls/nessen, readOnly: true}
{{- if ne .Values.tls.clientAuth "off" }}
- {name: tls-clients, mountPath: /run/tls/clients, readOnly: true}
{{- end }}
{{- end }}
{{- if and .Values.evidence.enabled .Values.evidence.folder.enabled }}
- {name: evidence, mountPath: /var/lib/nessen}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* A volume that stays belongs to root: the group is what Nessen writes by. */}}
{{- define "nessen.podSecurityContext" -}}
{{- $own := dict }}
{{- if and .Values.evidence.enabled .Values.evidence.folder.enabled .Values.evidence.folder.existingClaim }}
{{- $own = dict "fsGroup" 65532 "fsGroupChangePolicy" "OnRootMismatch" }}
{{- end }}
{{- merge (dict) .Values.podSecurityContext $own | toYaml }}
{{- end }}

{{- define "nessen.volumes" -}}
{{- if .Values.configFile }}
- name: config
  configMap:
    name: {{ include "nessen.named" (list . "file") }}
{{- end }}
{{- $external := and .Values.externalSecret.enabled .Values.externalSecret.data }}
{{- $secrets := include "nessen.secrets" . | fromYamlArray }}
{{- if or $secrets $external }}
- name: secrets
  projected:
    defaultMode: 0444
    sources:
      {{- range $secrets }}
      - secret:
          name: {{ .existingSecret }}
          items: [{key: {{ .key | quote }}, path: {{ .name }}}]
      {{- end }}
      {{- if $external }}
      - secret:
          name: {{ include "nessen.named" (list . "external") }}
      {{- end }}
{{- end }}
{{- with .Values.tls }}
{{- if .enabled }}
- name: tls
  secret:
    secretName: {{ .existingSecret }}
    defaultMode: 0444
{{- if ne .clientAuth "off" }}
- name: tls-clients
  secret:
    secretName: {{ .clientCA.existingSecret }}
    defaultMode: 0444
    items: [{key: {{ .clientCA.key | quote }}, path: {{ .clientCA.key | quote }}}]
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.evidence }}
{{- if and .enabled .folder.enabled }}
- name: evidence
  {{- if .folder.existingClaim }}
  persistentVolumeClaim:
    claimName: {{ .folder.existingClaim }}
  {{- else }}
  emptyDir:
    sizeLimit: {{ .folder.sizeLimit }}
  {{- end }}
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
