{{/* Names and labels that the templates share. */}}

{{- define "nessen.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/*
The name of the objects. It is a service's name too, so it has no dots and begins with a letter, and release
names may have 53 characters, so that two of them never become one by cutting.
*/}}
{{- define "nessen.fullname" -}}
{{- $name := .Release.Name | replace "." "-" }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride }}
{{- else if contains (include "nessen.name" .) $name }}
{{- include "nessen.fit" (printf "%s%s" (ternary "nessen-" "" (regexMatch "^[0-9]" $name)) $name) }}
{{- else if regexMatch "^[0-9]" $name }}
{{- include "nessen.fit" (printf "%s-%s" (include "nessen.name" .) $name) }}
{{- else }}
{{- include "nessen.fit" (printf "%s-%s" $name (include "nessen.name" .)) }}
{{- end }}
{{- end }}

{{/* At most 63 characters; what has to be cut is told apart by a hash. */}}
{{- define "nessen.fit" -}}
{{- if gt (len .) 63 }}
{{- printf "%s-%s" (trunc 54 . | trimSuffix "-") (sha256sum . | trunc 8) }}
{{- else }}
{{- . }}
{{- end }}
{{- end }}

{{/* Another object's name: include "nessen.named" (list . "dashboard"). */}}
{{- define "nessen.named" -}}
{{- include "nessen.fit" (printf "%s-%s" (include "nessen.fullname" (first .)) (last .)) }}
{{- end }}

{{- define "nessen.selectorLabels" -}}
app.kubernetes.io/name: {{ include "nessen.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The pod of `helm test`: another name, or the service would send it requests. */}}
{{- define "nessen.testLabels" -}}
app.kubernetes.io/name: {{ printf "%s-test" (include "nessen.name" . | trunc 58) }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "nessen.commonLabels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: nessen
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "nessen.labels" -}}
{{ include "nessen.selectorLabels" . }}
{{ include "nessen.commonLabels" . }}
{{- end }}

{{- define "nessen.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "nessen.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* A port of a node or of a balancer is open to the outside: there, the admin port has a service of its own. */}}
{{- define "nessen.adminService" -}}
{{- if eq .Values.service.type "ClusterIP" }}
{{- include "nessen.fullname" . }}
{{- else }}
{{- include "nessen.named" (list . "admin") }}
{{- end }}
{{- end }}

{{- define "nessen.image" -}}
{{- $image := .Values.image }}
{{- if $image.digest }}
{{- printf "%s@%s" $image.repository $image.digest }}
{{- else }}
{{- printf "%s:%s" $image.repository (default .Chart.AppVersion $image.tag) }}
{{- end }}
{{- end }}

{{/*
What the ConfigMap holds: settings by their names in the environment. A number goes through JSON, since a
template writes 1048576 as 1.048576e+06.
*/}}
{{- define "nessen.environment" -}}
PORT: "3000"
ADMIN_PORT: "9090"
DRAIN_DELAY: {{ printf "%ds" (int .Values.shutdown.drainDelaySeconds) | quote }}
SHUTDOWN_TIMEOUT: {{ printf "%ds" (int .Values.shutdown.drainTimeoutSeconds) | quote }}
{{- with .Values.upstream }}
UPSTREAM: {{ (kindIs "slice" . | ternary (join "," .) .) | quote }}
{{- end }}
{{- range $name, $value := merge (dict) .Values.config (include "nessen.features" . | fromYaml) }}
{{ $name }}: {{ kindIs "string" $value | ternary $value (toJson $value) | quote }}
{{- end }}
{{- end }}

{{/* Settings that come of values with a name of their own, by their names in the environment. */}}
{{- define "nessen.features" -}}
{{- if eq .Values.mode "prod" }}
MODE: prod
REPLICAS: {{ ternary .Values.autoscaling.maxReplicas .Values.replicaCount .Values.autoscaling.enabled | max 1 | toString | quote }}
{{- end }}
{{- with .Values.tls }}
{{- if .enabled }}
TLS_CERT: /run/tls/nessen/tls.crt
TLS_KEY: /run/tls/nessen/tls.key
{{- if ne .clientAuth "off" }}
NESSEN_TLS_CLIENT_AUTH: {{ .clientAuth }}
NESSEN_TLS_CLIENT_CA: /run/tls/clients/{{ .clientCA.key }}
{{- end }}
{{- if .redirect }}
NESSEN_TLS_REDIRECT_PORT: "3080"
NESSEN_TLS_PUBLIC_PORT: {{ $.Values.service.port | toString | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.rateLimit.redis }}
{{- if .enabled }}
RATE_LIMIT_BACKEND: redis
NESSEN_RATE_LIMIT_ON_REDIS_FAILURE: {{ .onFailure }}
{{- end }}
{{- end }}
{{- with .Values.tracing }}
{{- if .enabled }}
TRACING_ENABLED: "true"
OTEL_EXPORTER_OTLP_ENDPOINT: {{ .endpoint | quote }}
OTEL_TRACES_SAMPLER: {{ .sampler }}
OTEL_TRACES_SAMPLER_ARG: {{ .ratio | quote }}
{{- end }}
{{- end }}
{{- with .Values.evidence }}
{{- if .enabled }}
NESSEN_EVIDENCE_ENABLED: "true"
NESSEN_EVIDENCE_MAX_BYTES: {{ .maxBytes | quote }}
{{- if .folder.enabled }}
NESSEN_EVIDENCE_STORAGE: /var/lib/nessen/evidence
NESSEN_EVIDENCE_STORAGE_MAX_BYTES: {{ .folder.maxBytes | quote }}
{{- end }}
{{- with .s3 }}
{{- if .enabled }}
NESSEN_EVIDENCE_S3_BUCKET: {{ .bucket | quote }}
NESSEN_EVIDENCE_S3_REGION: {{ .region | quote }}
{{- with .prefix }}
NESSEN_EVIDENCE_S3_PREFIX: {{ . | quote }}
{{- end }}
{{- with .endpoint }}
NESSEN_EVIDENCE_S3_ENDPOINT: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* What is mounted out of secrets that exist: `secrets`, and those of the values above. */}}
{{- define "nessen.secrets" -}}
{{- range .Values.secrets }}
- {name: {{ .name }}, existingSecret: {{ .existingSecret }}, key: {{ .key | quote }}}
{{- end }}
{{- with .Values.rateLimit.redis }}
{{- if .enabled }}
- {name: REDIS_URL, existingSecret: {{ .existingSecret }}, key: {{ .key | quote }}}
{{- end }}
{{- end }}
{{- with .Values.tracing }}
{{- if and .enabled .headers.existingSecret }}
- {name: OTEL_EXPORTER_OTLP_HEADERS, existingSecret: {{ .headers.existingSecret }}, key: {{ .headers.key | quote }}}
{{- end }}
{{- end }}
{{- with .Values.evidence.s3 }}
{{- if and .enabled $.Values.evidence.enabled }}
- {name: AWS_ACCESS_KEY_ID, existingSecret: {{ .existingSecret }}, key: {{ .accessKeyIdKey | quote }}}
- {name: AWS_SECRET_ACCESS_KEY, existingSecret: {{ .existingSecret }}, key: {{ .secretAccessKeyKey | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{/* The settings that are mounted as files: of secrets that exist, and of the one that the operator writes. */}}
{{- define "nessen.secretNames" -}}
{{- range include "nessen.secrets" . | fromYamlArray }}
- {{ .name }}
{{- end }}
{{- if .Values.externalSecret.enabled }}
{{- range .Values.externalSecret.data }}
- {{ .name }}
{{- end }}
{{- end }}
{{- end }}

{{/* What a schema cannot say, said before anything is installed. */}}
{{- define "nessen.validate" -}}
{{- $names := include "nessen.secretNames" . | fromYamlArray }}
{{- if ne (len $names) (len (uniq $names)) }}
{{- fail (printf "secrets: a name comes twice in %s" (join ", " $names)) }}
{{- end }}
{{- range $names }}
{{- if hasKey $.Values.config . }}
{{- fail (printf "%s is set in config and as a secret" .) }}
{{- end }}
{{- end }}
{{- range $name, $_ := include "nessen.features" . | fromYaml }}
{{- if or (hasKey $.Values.config $name) (has $name $names) }}
{{- fail (printf "%s is set by another value of the chart" $name) }}
{{- end }}
{{- end }}
{{- if and .Values.evidence.folder.enabled .Values.evidence.s3.enabled }}
{{- fail "evidence.folder and evidence.s3: only one place" }}
{{- end }}
{{- if and .Values.tls.enabled .Values.tls.redirect (eq (int .Values.service.port) (int .Values.tls.redirectServicePort)) }}
{{- fail "service.port and tls.redirectServicePort are the same: with tls.redirect, set service.port, as to 443" }}
{{- end }}
{{- if and .Values.upstream (has "UPSTREAM" $names) }}
{{- fail "UPSTREAM is set by upstream and as a secret" }}
{{- end }}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) }}
{{- fail "autoscaling.minReplicas is over autoscaling.maxReplicas" }}
{{- end }}
{{- end }}
