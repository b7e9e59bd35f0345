"""A cluster that is not there: an API server on loopback, and what a cluster's own controllers do.

`server` puts `api` on a port; `api`, `writes`, `admission`, `crd`, `garbage`, `discovery`, `openapi`,
`tables`, `selectors`, `apply`, `patch`, `protobuf`, `types`, `store` and `builtin` decide, without I/O;
`persistence` keeps the store in a file. `workloads` and `cluster` are ordinary clients of that server.

What the API server does not do:

- no users and no permissions: one token, which may do everything; RBAC objects are only stored. The token
  is in the kubeconfig's server address, because kubectl sends credentials over TLS only and this is HTTP;
- no webhooks, no admission policies, no CEL (`x-kubernetes-validations`), no quotas, no priorities and
  no eviction; no service accounts beyond the objects, no Endpoints made for Services;
- no answers in protobuf (requests may be): clients take JSON where they say so, as all do;
- of the validation and the defaults of built-in kinds only what users and controllers run into is here
  (`admission`); their fields are all known (`types`), but no words about them (`kubectl explain`);
- times keep the fractions of seconds that a writer gave: the simulated kubelet lives faster than seconds;
- conversion between versions of a custom resource by `None` only; patterns are Python's, not RE2's;
- no `exec`, `attach`, `portforward`, `proxy`; `log` gives what whoever runs pods says, without `follow`;
- no expiry of Events, no `ancient-changes` cap on managedFields, no HTTP/2, no compression.
"""
