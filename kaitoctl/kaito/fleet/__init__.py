"""Fleets: InferenceSets, which are several Workspaces that serve one model, and what is made of those.

`replicas` makes the Workspaces of a set, `roles` the sets of a MultiRoleInference; `validation` judges both
kinds by their schemas, KAITO's rules, and what KAITO accepts and never reads. Pure.

Source: KAITO v0.12.0 at 056b8280b, `api/v1beta1/inferenceset_*.go`, `pkg/inferenceset`,
`pkg/utils/inferenceset`, `api/v1alpha1/multiroleinference_*.go`, `pkg/controllers/multiroleinference`.
"""
