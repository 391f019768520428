{{/* The pod template of a role: (dict "root" $ "role" "knot" "state" "NAME OF A CLAIM"). state: "" keeps nothing,
"template" is the claim of a StatefulSet. */}}
{{- define "chimera.pod" -}}
{{- $root := .root -}}
{{- $role := .role -}}
{{- $values := index $root.Values $role -}}
{{- $texts := and (eq $role "trainer") (include "chimera.textsFolder" $root) -}}
metadata:
  labels:
    {{- include "chimera.roleLabels" . | nindent 4 }}
    # Not the chart's version: a new chart alone restarts nothing.
    app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
    app.kubernetes.io/part-of: chimera
  annotations:
    # A changed configuration is a new pod: the binary reads it at its start only.
    checksum/config: {{ include "chimera.serviceConfig" $root | sha256sum }}
spec:
  serviceAccountName: {{ include "chimera.fullname" $root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "chimera.graceSeconds" . }}
  {{- with $root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  securityContext:
    {{- include "chimera.podSecurity" $root | nindent 4 }}
  {{- include "chimera.placement" . | nindent 2 }}
  containers:
    - name: {{ $role }}
      image: {{ include "chimera.image" $root }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args:
        - serve
        - --role
        - {{ $role }}
        - --config
        - /etc/chimera/service.json
        {{- if has $role (list "surface" "trainer") }}
        - --knot
        - {{ include "chimera.knotAddress" $root }}
        {{- end }}
        {{- if and (eq $role "surface") $root.Values.memory.enabled }}
        - --memory
        - {{ include "chimera.memoryAddress" $root }}
        {{- end }}
      ports:
        - name: grpc
          containerPort: {{ index $root.Values.config.ports $role | int }}
        - name: admin
          containerPort: {{ index $root.Values.config.ports (printf "%s_admin" $role) | int }}
      # The admin port opens when the model is loaded.
      startupProbe:
        httpGet: {path: /healthz, port: admin}
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: {{ div (add (int $root.Values.probes.startupSeconds) 1) 2 }}
      livenessProbe:
        httpGet: {path: /healthz, port: admin}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 3
      readinessProbe:
        httpGet: {path: /readyz, port: admin}
        periodSeconds: 5
        timeoutSeconds: 2
        failureThreshold: 2
      {{- if $root.Values.shutdown.preStopSeconds }}
      lifecycle:
        preStop:
          sleep:
            seconds: {{ int $root.Values.shutdown.preStopSeconds }}
      {{- end }}
      resources:
        requests:
          cpu: {{ default $values.cpu $values.cpuRequest | quote }}
          memory: {{ $values.memory }}
        limits:
          cpu: {{ $values.cpu | quote }}
          memory: {{ $values.memory }}
      securityContext:
        {{- include "chimera.containerSecurity" $root | nindent 8 }}
      volumeMounts:
        - name: config
          mountPath: /etc/chimera
          readOnly: true
        {{- if .state }}
        - name: state
          mountPath: /var/lib/chimera
        {{- end }}
        {{- with $texts }}
        - name: texts
          mountPath: {{ . }}
          readOnly: true
        {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "chimera.fullname" $root }}-config
    {{- if and .state (ne .state "template") }}
    - name: state
      persistentVolumeClaim:
        claimName: {{ .state }}
    {{- end }}
    {{- if $texts }}
    - name: texts
      persistentVolumeClaim:
        claimName: {{ $root.Values.trainer.texts.existingClaim }}
        readOnly: true
    {{- end }}
{{- end -}}

{{/* On which nodes a role may run: (dict "root" $ "role" "knot"). */}}
{{- define "chimera.placement" -}}
{{- $values := index .root.Values .role -}}
{{- with .root.Values.scheduling.priorityClassName -}}
priorityClassName: {{ . }}
{{ end -}}
nodeSelector: {{ toJson $values.nodeSelector }}
tolerations: {{ toJson $values.tolerations }}
{{- if eq .role "surface" }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "chimera.roleLabels" . | nindent 8 }}
{{- else if ne .root.Values.scheduling.separateNodes "none" }}
affinity:
  podAntiAffinity:
    {{- if eq .root.Values.scheduling.separateNodes "required" }}
    requiredDuringSchedulingIgnoredDuringExecution:
      - {{- include "chimera.apart" . | nindent 8 }}
    {{- else }}
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          {{- include "chimera.apart" . | nindent 10 }}
    {{- end }}
{{- end }}
{{- end -}}

{{/* Not where another of the roles with work or state of its own runs. Not its own kind: a pod that replaces one may
return to that node, where its volume may be. */}}
{{- define "chimera.apart" -}}
topologyKey: kubernetes.io/hostname
labelSelector:
  matchLabels:
    {{- include "chimera.releaseLabels" .root | nindent 4 }}
  matchExpressions:
    - key: app.kubernetes.io/component
      operator: In
      values: {{ without (list "knot" "memory" "trainer") .role | toJson }}
{{- end -}}
