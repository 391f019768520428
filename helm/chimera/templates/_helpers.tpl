{{/* Names, labels and the figures that several templates need. "." is the chart's root unless said otherwise. */}}

{{- define "chimera.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 40 characters, so that every name made from it fits into 63. */}}
{{- define "chimera.fullname" -}}
{{- $name := include "chimera.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Every pod of the release, and nothing else. */}}
{{- define "chimera.releaseLabels" -}}
app.kubernetes.io/name: {{ include "chimera.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The pods of one role: (dict "root" $ "role" "knot"). Never changes for a release: selectors are immutable. */}}
{{- define "chimera.roleLabels" -}}
{{ include "chimera.releaseLabels" .root }}
app.kubernetes.io/component: {{ .role }}
{{- end -}}

{{/* Labels of an object: (dict "root" $ "role" "knot"), role may be empty. */}}
{{- define "chimera.labels" -}}
{{ include "chimera.releaseLabels" .root }}
{{- with .role }}
app.kubernetes.io/component: {{ . }}
{{- end }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: chimera
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The roles of this release, as a JSON list. */}}
{{- define "chimera.roles" -}}
{{- $roles := list "knot" "surface" -}}
{{- range list "memory" "trainer" -}}
{{- if (index $.Values .).enabled }}{{ $roles = append $roles . }}{{ end -}}
{{- end -}}
{{- $roles | toJson -}}
{{- end -}}

{{- define "chimera.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The folder that training jobs may read; "" refuses every job. */}}
{{- define "chimera.textsFolder" -}}
{{- if and .Values.trainer.enabled .Values.trainer.texts.existingClaim }}/data{{ end -}}
{{- end -}}

{{/* service.json: the values, then what a pod needs. */}}
{{- define "chimera.serviceConfig" -}}
{{- $ports := list -}}
{{- range values .Values.config.ports }}{{ $ports = append $ports (int .) }}{{ end -}}
{{- if ne (len (uniq $ports)) (len $ports) }}{{ fail "config.ports: every port needs a number of its own" }}{{ end -}}
{{- if lt (int .Values.config.max_message_bytes) (int .Values.config.max_prompt_bytes) -}}
{{- fail "config.max_message_bytes must not be below config.max_prompt_bytes" -}}
{{- end -}}
{{- $config := merge (.Files.Get "files/fixed.json" | fromJson) (deepCopy .Values.config) -}}
{{- $_ := set $config.trainer "data_root" (include "chimera.textsFolder" .) -}}
{{- $config | toPrettyJson -}}
{{- end -}}

{{/* Where surface and trainer find the knot. A Service with an address of its own: a restarted knot is found again
at once, without waiting for DNS. */}}
{{- define "chimera.knotAddress" -}}
{{- printf "%s-knot:%d" (include "chimera.fullname" .) (int .Values.config.ports.knot) -}}
{{- end -}}

{{- define "chimera.memoryAddress" -}}
{{- printf "%s-memory:%d" (include "chimera.fullname" .) (int .Values.config.ports.memory) -}}
{{- end -}}

{{/* Seconds from "please end" to SIGKILL, longer than sleep and drain: (dict "root" $ "role" "knot"). */}}
{{- define "chimera.graceSeconds" -}}
{{- $drain := div (add (int .root.Values.config.drain_timeout_ms) 999) 1000 -}}
{{- add (int .root.Values.shutdown.preStopSeconds) $drain (int (index .root.Values .role).finishSeconds) -}}
{{- end -}}

{{/* Nobody but the image's own user, nothing it could gain: pod and container. */}}
{{- define "chimera.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "chimera.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* A claim's spec: (dict "size" ... "storageClass" ...). */}}
{{- define "chimera.claim" -}}
accessModes: [ReadWriteOnce]
{{- with .storageClass }}
storageClassName: {{ . | quote }}
{{- end }}
resources:
  requests:
    storage: {{ .size }}
{{- end -}}
