# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_quell_global_optspecs
    string join \n kubeconfig= context= n/namespace= state-dir= runbook-dir= json q/quiet h/help V/version
end

function __fish_quell_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_quell_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_quell_using_subcommand
    set -l cmd (__fish_quell_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c quell -n "__fish_quell_needs_command" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_needs_command" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_needs_command" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_needs_command" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_needs_command" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_needs_command" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_needs_command" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_needs_command" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_needs_command" -s V -l version -d 'Print version'
complete -c quell -n "__fish_quell_needs_command" -f -a "run" -d 'Run a runbook: plan, approve, act, seal the evidence'
complete -c quell -n "__fish_quell_needs_command" -f -a "plan" -d 'Show what a run would do; reads only, changes nothing at all'
complete -c quell -n "__fish_quell_needs_command" -f -a "resume" -d 'Go on with an incident after a crash, an interruption or a missing approval'
complete -c quell -n "__fish_quell_needs_command" -f -a "undo" -d 'Take an incident\'s containment back, newest change first'
complete -c quell -n "__fish_quell_needs_command" -f -a "incidents" -d 'List incidents'
complete -c quell -n "__fish_quell_needs_command" -f -a "status" -d 'Show one incident: steps, what is open, artifacts'
complete -c quell -n "__fish_quell_needs_command" -f -a "bundle" -d 'Seal evidence, and verify, list, show or extract it offline'
complete -c quell -n "__fish_quell_needs_command" -f -a "runbook" -d 'Check, list, show and write runbooks, and print the rights they need'
complete -c quell -n "__fish_quell_needs_command" -f -a "action" -d 'List and explain what steps can do'
complete -c quell -n "__fish_quell_needs_command" -f -a "audit" -d 'Find who did what in the API server\'s audit log, and what can\'t be known from it'
complete -c quell -n "__fish_quell_needs_command" -f -a "doctor" -d 'Look what this cluster, identity and namespace allow, before it is needed'
complete -c quell -n "__fish_quell_needs_command" -f -a "drill" -d 'Practise: run a drill on the embedded cluster or a real one, score it, report it'
complete -c quell -n "__fish_quell_needs_command" -f -a "sim" -d 'Serve the embedded cluster to kubectl and other clients'
complete -c quell -n "__fish_quell_needs_command" -f -a "collector" -d 'Make the image of quell\'s collector'
complete -c quell -n "__fish_quell_needs_command" -f -a "completions" -d 'Print a shell\'s completion script'
complete -c quell -n "__fish_quell_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c quell -n "__fish_quell_using_subcommand run" -l set -d 'An input of the runbook; may be given several times' -r
complete -c quell -n "__fish_quell_using_subcommand run" -l from-alert -d 'Take the inputs from one Alertmanager or Falco JSON document, by the runbook\'s own mapping ("-" reads it from standard input); the same alert again joins its incident' -r -F
complete -c quell -n "__fish_quell_using_subcommand run" -l max-bytes -d 'Bytes that one artifact may have; what is longer is cut, and said to be' -r
complete -c quell -n "__fish_quell_using_subcommand run" -l approve -d 'Approve these steps, whatever their risk' -r
complete -c quell -n "__fish_quell_using_subcommand run" -l max-risk -d 'What --yes goes up to: read, low, medium, high, destructive' -r
complete -c quell -n "__fish_quell_using_subcommand run" -l expect-cluster -d 'Refuse any cluster but this one: a context, cluster name, server URL or the UID of kube-system' -r
complete -c quell -n "__fish_quell_using_subcommand run" -l protect -d 'One more namespace to protect, beside kube-system and its like' -r
complete -c quell -n "__fish_quell_using_subcommand run" -l max-changes -d 'Objects that one run may change' -r
complete -c quell -n "__fish_quell_using_subcommand run" -l override -d 'Override a guard (protected-namespace, max-changes, needs, lease, control-plane, disruption-budget); needs --reason' -r
complete -c quell -n "__fish_quell_using_subcommand run" -l reason -d 'Why; goes into the record' -r
complete -c quell -n "__fish_quell_using_subcommand run" -l only -d 'Only these steps' -r
complete -c quell -n "__fish_quell_using_subcommand run" -l skip -d 'All but these steps' -r
complete -c quell -n "__fish_quell_using_subcommand run" -l start-at -d 'From this step on' -r
complete -c quell -n "__fish_quell_using_subcommand run" -l bundle-dir -d 'Where the bundle goes; else the working directory, else the incident\'s folder' -r -F
complete -c quell -n "__fish_quell_using_subcommand run" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand run" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand run" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand run" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand run" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand run" -s y -l yes -d 'Approve every step up to --max-risk without asking'
complete -c quell -n "__fish_quell_using_subcommand run" -l dry-run -d 'Stop after the plan (the same as `quell plan`)'
complete -c quell -n "__fish_quell_using_subcommand run" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand run" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand run" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand plan" -l set -d 'An input of the runbook; may be given several times' -r
complete -c quell -n "__fish_quell_using_subcommand plan" -l from-alert -d 'Take the inputs from one Alertmanager or Falco JSON document, by the runbook\'s own mapping ("-" reads it from standard input); the same alert again joins its incident' -r -F
complete -c quell -n "__fish_quell_using_subcommand plan" -l max-bytes -d 'Bytes that one artifact may have; what is longer is cut, and said to be' -r
complete -c quell -n "__fish_quell_using_subcommand plan" -l approve -d 'Approve these steps, whatever their risk' -r
complete -c quell -n "__fish_quell_using_subcommand plan" -l max-risk -d 'What --yes goes up to: read, low, medium, high, destructive' -r
complete -c quell -n "__fish_quell_using_subcommand plan" -l expect-cluster -d 'Refuse any cluster but this one: a context, cluster name, server URL or the UID of kube-system' -r
complete -c quell -n "__fish_quell_using_subcommand plan" -l protect -d 'One more namespace to protect, beside kube-system and its like' -r
complete -c quell -n "__fish_quell_using_subcommand plan" -l max-changes -d 'Objects that one run may change' -r
complete -c quell -n "__fish_quell_using_subcommand plan" -l override -d 'Override a guard (protected-namespace, max-changes, needs, lease, control-plane, disruption-budget); needs --reason' -r
complete -c quell -n "__fish_quell_using_subcommand plan" -l reason -d 'Why; goes into the record' -r
complete -c quell -n "__fish_quell_using_subcommand plan" -l only -d 'Only these steps' -r
complete -c quell -n "__fish_quell_using_subcommand plan" -l skip -d 'All but these steps' -r
complete -c quell -n "__fish_quell_using_subcommand plan" -l start-at -d 'From this step on' -r
complete -c quell -n "__fish_quell_using_subcommand plan" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand plan" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand plan" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand plan" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand plan" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand plan" -s y -l yes -d 'Approve every step up to --max-risk without asking'
complete -c quell -n "__fish_quell_using_subcommand plan" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand plan" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand plan" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand resume" -l max-bytes -d 'Bytes that one artifact may have' -r
complete -c quell -n "__fish_quell_using_subcommand resume" -l bundle-dir -d 'Where the bundle goes; else the working directory, else the incident\'s folder' -r -F
complete -c quell -n "__fish_quell_using_subcommand resume" -l approve -d 'Approve these steps, whatever their risk' -r
complete -c quell -n "__fish_quell_using_subcommand resume" -l max-risk -d 'What --yes goes up to: read, low, medium, high, destructive' -r
complete -c quell -n "__fish_quell_using_subcommand resume" -l expect-cluster -d 'Refuse any cluster but this one: a context, cluster name, server URL or the UID of kube-system' -r
complete -c quell -n "__fish_quell_using_subcommand resume" -l protect -d 'One more namespace to protect, beside kube-system and its like' -r
complete -c quell -n "__fish_quell_using_subcommand resume" -l max-changes -d 'Objects that one run may change' -r
complete -c quell -n "__fish_quell_using_subcommand resume" -l override -d 'Override a guard (protected-namespace, max-changes, needs, lease, control-plane, disruption-budget); needs --reason' -r
complete -c quell -n "__fish_quell_using_subcommand resume" -l reason -d 'Why; goes into the record' -r
complete -c quell -n "__fish_quell_using_subcommand resume" -l only -d 'Only these steps' -r
complete -c quell -n "__fish_quell_using_subcommand resume" -l skip -d 'All but these steps' -r
complete -c quell -n "__fish_quell_using_subcommand resume" -l start-at -d 'From this step on' -r
complete -c quell -n "__fish_quell_using_subcommand resume" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand resume" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand resume" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand resume" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand resume" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand resume" -s y -l yes -d 'Approve every step up to --max-risk without asking'
complete -c quell -n "__fish_quell_using_subcommand resume" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand resume" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand resume" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand undo" -l approve -d 'Approve these steps, whatever their risk' -r
complete -c quell -n "__fish_quell_using_subcommand undo" -l max-risk -d 'What --yes goes up to: read, low, medium, high, destructive' -r
complete -c quell -n "__fish_quell_using_subcommand undo" -l expect-cluster -d 'Refuse any cluster but this one: a context, cluster name, server URL or the UID of kube-system' -r
complete -c quell -n "__fish_quell_using_subcommand undo" -l protect -d 'One more namespace to protect, beside kube-system and its like' -r
complete -c quell -n "__fish_quell_using_subcommand undo" -l max-changes -d 'Objects that one run may change' -r
complete -c quell -n "__fish_quell_using_subcommand undo" -l override -d 'Override a guard (protected-namespace, max-changes, needs, lease, control-plane, disruption-budget); needs --reason' -r
complete -c quell -n "__fish_quell_using_subcommand undo" -l reason -d 'Why; goes into the record' -r
complete -c quell -n "__fish_quell_using_subcommand undo" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand undo" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand undo" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand undo" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand undo" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand undo" -l dry-run -d 'Only show what would be taken back'
complete -c quell -n "__fish_quell_using_subcommand undo" -s y -l yes -d 'Approve every step up to --max-risk without asking'
complete -c quell -n "__fish_quell_using_subcommand undo" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand undo" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand undo" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand incidents" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand incidents" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand incidents" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand incidents" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand incidents" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand incidents" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand incidents" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand incidents" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand status" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand status" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand status" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand status" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand status" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand status" -s w -l watch -d 'Go on showing what happens until the run ends'
complete -c quell -n "__fish_quell_using_subcommand status" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand status" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand status" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand bundle; and not __fish_seen_subcommand_from seal verify list show extract help" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand bundle; and not __fish_seen_subcommand_from seal verify list show extract help" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand bundle; and not __fish_seen_subcommand_from seal verify list show extract help" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand bundle; and not __fish_seen_subcommand_from seal verify list show extract help" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand bundle; and not __fish_seen_subcommand_from seal verify list show extract help" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand bundle; and not __fish_seen_subcommand_from seal verify list show extract help" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand bundle; and not __fish_seen_subcommand_from seal verify list show extract help" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand bundle; and not __fish_seen_subcommand_from seal verify list show extract help" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand bundle; and not __fish_seen_subcommand_from seal verify list show extract help" -f -a "seal" -d 'Seal an incident\'s journal and artifacts into one tar: the same incident seals to the same bytes'
complete -c quell -n "__fish_quell_using_subcommand bundle; and not __fish_seen_subcommand_from seal verify list show extract help" -f -a "verify" -d 'Check a bundle offline: name what was changed, added, removed, reordered or truncated'
complete -c quell -n "__fish_quell_using_subcommand bundle; and not __fish_seen_subcommand_from seal verify list show extract help" -f -a "list" -d 'List a bundle\'s artifacts'
complete -c quell -n "__fish_quell_using_subcommand bundle; and not __fish_seen_subcommand_from seal verify list show extract help" -f -a "show" -d 'Write one member of a bundle to standard output'
complete -c quell -n "__fish_quell_using_subcommand bundle; and not __fish_seen_subcommand_from seal verify list show extract help" -f -a "extract" -d 'Unpack a bundle into a new directory: no links, no devices, nothing outside it'
complete -c quell -n "__fish_quell_using_subcommand bundle; and not __fish_seen_subcommand_from seal verify list show extract help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from seal" -s o -l output -d 'Where the bundle goes' -r -F
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from seal" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from seal" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from seal" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from seal" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from seal" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from seal" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from seal" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from seal" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from verify" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from verify" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from verify" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from verify" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from verify" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from verify" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from verify" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from list" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from list" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from list" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from list" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from list" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from list" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from show" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from show" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from show" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from show" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from show" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from show" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from extract" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from extract" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from extract" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from extract" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from extract" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from extract" -l force -d 'Unpack one that does not verify, too'
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from extract" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from extract" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from extract" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from help" -f -a "seal" -d 'Seal an incident\'s journal and artifacts into one tar: the same incident seals to the same bytes'
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from help" -f -a "verify" -d 'Check a bundle offline: name what was changed, added, removed, reordered or truncated'
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from help" -f -a "list" -d 'List a bundle\'s artifacts'
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from help" -f -a "show" -d 'Write one member of a bundle to standard output'
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from help" -f -a "extract" -d 'Unpack a bundle into a new directory: no links, no devices, nothing outside it'
complete -c quell -n "__fish_quell_using_subcommand bundle; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c quell -n "__fish_quell_using_subcommand runbook; and not __fish_seen_subcommand_from check schema list show new rbac help" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand runbook; and not __fish_seen_subcommand_from check schema list show new rbac help" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand runbook; and not __fish_seen_subcommand_from check schema list show new rbac help" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand runbook; and not __fish_seen_subcommand_from check schema list show new rbac help" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand runbook; and not __fish_seen_subcommand_from check schema list show new rbac help" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand runbook; and not __fish_seen_subcommand_from check schema list show new rbac help" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand runbook; and not __fish_seen_subcommand_from check schema list show new rbac help" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand runbook; and not __fish_seen_subcommand_from check schema list show new rbac help" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand runbook; and not __fish_seen_subcommand_from check schema list show new rbac help" -f -a "check" -d 'Report every problem of a runbook at once, with place and suggestion'
complete -c quell -n "__fish_quell_using_subcommand runbook; and not __fish_seen_subcommand_from check schema list show new rbac help" -f -a "schema" -d 'Print the JSON Schema that editors use (yaml-language-server)'
complete -c quell -n "__fish_quell_using_subcommand runbook; and not __fish_seen_subcommand_from check schema list show new rbac help" -f -a "list" -d 'List the runbooks at hand'
complete -c quell -n "__fish_quell_using_subcommand runbook; and not __fish_seen_subcommand_from check schema list show new rbac help" -f -a "show" -d 'Show a runbook: when to use it, inputs, steps'
complete -c quell -n "__fish_quell_using_subcommand runbook; and not __fish_seen_subcommand_from check schema list show new rbac help" -f -a "new" -d 'Print the skeleton of a new runbook'
complete -c quell -n "__fish_quell_using_subcommand runbook; and not __fish_seen_subcommand_from check schema list show new rbac help" -f -a "rbac" -d 'Print the smallest ClusterRole and Role that a runbook needs'
complete -c quell -n "__fish_quell_using_subcommand runbook; and not __fish_seen_subcommand_from check schema list show new rbac help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from check" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from check" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from check" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from check" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from check" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from check" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from check" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from schema" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from schema" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from schema" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from schema" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from schema" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from schema" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from schema" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from schema" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from list" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from list" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from list" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from list" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from list" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from list" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from show" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from show" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from show" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from show" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from show" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from show" -l yaml -d 'The YAML itself'
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from show" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from new" -s o -l output -d 'Write it there instead of printing it; an existing file is kept' -r -F
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from new" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from new" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from new" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from new" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from new" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from new" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from new" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from new" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from rbac" -l user -d 'Bind them to this user' -r
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from rbac" -l group -d 'Bind them to this group' -r
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from rbac" -l service-account -d 'Bind them to this service account' -r
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from rbac" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from rbac" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from rbac" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from rbac" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from rbac" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from rbac" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from rbac" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from rbac" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from help" -f -a "check" -d 'Report every problem of a runbook at once, with place and suggestion'
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from help" -f -a "schema" -d 'Print the JSON Schema that editors use (yaml-language-server)'
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the runbooks at hand'
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show a runbook: when to use it, inputs, steps'
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from help" -f -a "new" -d 'Print the skeleton of a new runbook'
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from help" -f -a "rbac" -d 'Print the smallest ClusterRole and Role that a runbook needs'
complete -c quell -n "__fish_quell_using_subcommand runbook; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c quell -n "__fish_quell_using_subcommand action; and not __fish_seen_subcommand_from list explain help" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand action; and not __fish_seen_subcommand_from list explain help" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand action; and not __fish_seen_subcommand_from list explain help" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand action; and not __fish_seen_subcommand_from list explain help" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand action; and not __fish_seen_subcommand_from list explain help" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand action; and not __fish_seen_subcommand_from list explain help" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand action; and not __fish_seen_subcommand_from list explain help" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand action; and not __fish_seen_subcommand_from list explain help" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand action; and not __fish_seen_subcommand_from list explain help" -f -a "list" -d 'List all actions'
complete -c quell -n "__fish_quell_using_subcommand action; and not __fish_seen_subcommand_from list explain help" -f -a "explain" -d 'One action: parameters, rights, outputs, undo, an example'
complete -c quell -n "__fish_quell_using_subcommand action; and not __fish_seen_subcommand_from list explain help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c quell -n "__fish_quell_using_subcommand action; and __fish_seen_subcommand_from list" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand action; and __fish_seen_subcommand_from list" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand action; and __fish_seen_subcommand_from list" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand action; and __fish_seen_subcommand_from list" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand action; and __fish_seen_subcommand_from list" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand action; and __fish_seen_subcommand_from list" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand action; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand action; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand action; and __fish_seen_subcommand_from explain" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand action; and __fish_seen_subcommand_from explain" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand action; and __fish_seen_subcommand_from explain" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand action; and __fish_seen_subcommand_from explain" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand action; and __fish_seen_subcommand_from explain" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand action; and __fish_seen_subcommand_from explain" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand action; and __fish_seen_subcommand_from explain" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand action; and __fish_seen_subcommand_from explain" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand action; and __fish_seen_subcommand_from help" -f -a "list" -d 'List all actions'
complete -c quell -n "__fish_quell_using_subcommand action; and __fish_seen_subcommand_from help" -f -a "explain" -d 'One action: parameters, rights, outputs, undo, an example'
complete -c quell -n "__fish_quell_using_subcommand action; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -l subject -d 'A user name, as the log writes it; finds what it did as somebody else, and what others did as it' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -l service-account -d 'A service account, in the same way' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -l pod -d 'A pod whose own token was used' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -l node -d 'A node: its kubelet, and tokens bound to it or to its pods' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -l secret -d 'A Secret; lists and watches that hold it count as reads of it' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -l object -d 'An object, in the same way: KIND, KIND/NAME, KIND/NS/NAME; KIND as kubectl takes it' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -l source-ip -d 'An address or a range, held against the one address that the client can\'t set' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -l session -d 'A token\'s id, or a client certificate\'s SHA-256 fingerprint: its uses, and where it was issued' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -l user-agent -d 'A user agent; * stands for any text, ? for one character' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -l verb -d 'get, list, watch, create, update, patch, delete, deletecollection' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -l trusted-proxies -d 'Proxies before the API server: the address before theirs is taken' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -l since -d 'How far back from --until' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -l from -d 'From when on, RFC 3339; without it or --since: as far back as the log goes' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -l until -d 'Until when; default with --since and --from: now' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -l gap -d 'Silence of everybody for longer than this counts as a gap' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -l rules -d 'Rules of your own, quell\'s or Sigma\'s: files or folders of YAML' -r -F
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -l severity -d 'Leave out what is less grave: info, low, medium, high, critical' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -l limit -d 'Only so many requests, the newest; reading ends when they are sure' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -l findings -d 'Look for signs of an attack; without a filter, only findings are shown'
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -l table -d 'Columns; the default'
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -l timeline -d 'By time, with gaps in their place'
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -l csv -d 'Comma-separated values, safe in a spreadsheet'
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -l jsonl -d 'One request a line, as JSON; coverage on standard error'
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -a "diff" -d 'What an identity did in one time that it never did in another'
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -a "graph" -d 'Who reached a Secret, or what an identity reached, and through whom'
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -a "show" -d 'The original of an event, by the file and byte that an answer names'
complete -c quell -n "__fish_quell_using_subcommand audit; and not __fish_seen_subcommand_from diff graph show help" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from diff" -l subject -d 'A user name, as the log writes it; finds what it did as somebody else, and what others did as it' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from diff" -l service-account -d 'A service account, in the same way' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from diff" -l pod -d 'A pod whose own token was used' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from diff" -l node -d 'A node: its kubelet, and tokens bound to it or to its pods' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from diff" -l secret -d 'A Secret; lists and watches that hold it count as reads of it' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from diff" -l object -d 'An object, in the same way: KIND, KIND/NAME, KIND/NS/NAME; KIND as kubectl takes it' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from diff" -l source-ip -d 'An address or a range, held against the one address that the client can\'t set' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from diff" -l session -d 'A token\'s id, or a client certificate\'s SHA-256 fingerprint: its uses, and where it was issued' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from diff" -l user-agent -d 'A user agent; * stands for any text, ? for one character' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from diff" -l verb -d 'get, list, watch, create, update, patch, delete, deletecollection' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from diff" -l trusted-proxies -d 'Proxies before the API server: the address before theirs is taken' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from diff" -l gap -d 'Silence of everybody for longer than this counts as a gap' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from diff" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from diff" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from diff" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from diff" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from diff" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from diff" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from diff" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from diff" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from graph" -l secret -d 'Who reached this Secret, and through whom' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from graph" -l subject -d 'What led to this user, and where it led' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from graph" -l service-account -d 'The same of a service account' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from graph" -l since -d 'How far back from --until' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from graph" -l from -d 'From when on, RFC 3339; without it or --since: as far back as the log goes' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from graph" -l until -d 'Until when; default with --since and --from: now' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from graph" -l gap -d 'Silence of everybody for longer than this counts as a gap' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from graph" -l trusted-proxies -d 'Proxies before the API server: the address before theirs is taken' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from graph" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from graph" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from graph" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from graph" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from graph" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from graph" -l dot -d 'For Graphviz: `… --dot | dot -Tsvg > graph.svg`; coverage on standard error'
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from graph" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from graph" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from graph" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from show" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from show" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from show" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from show" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from show" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from show" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from help" -f -a "diff" -d 'What an identity did in one time that it never did in another'
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from help" -f -a "graph" -d 'Who reached a Secret, or what an identity reached, and through whom'
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from help" -f -a "show" -d 'The original of an event, by the file and byte that an answer names'
complete -c quell -n "__fish_quell_using_subcommand audit; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c quell -n "__fish_quell_using_subcommand doctor" -l collector-image -d 'Image of quell\'s collector, by digest' -r
complete -c quell -n "__fish_quell_using_subcommand doctor" -l recipients -d 'Public keys of age that sensitive content is sealed for, separated by commas' -r
complete -c quell -n "__fish_quell_using_subcommand doctor" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand doctor" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand doctor" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand doctor" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand doctor" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand doctor" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand doctor" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand drill; and not __fish_seen_subcommand_from list show run report history sign clean help" -l seed -d 'What names, UIDs and addresses of the embedded cluster follow from' -r
complete -c quell -n "__fish_quell_using_subcommand drill; and not __fish_seen_subcommand_from list show run report history sign clean help" -l speed -d 'How much faster than real; 20 with --auto, else 1' -r
complete -c quell -n "__fish_quell_using_subcommand drill; and not __fish_seen_subcommand_from list show run report history sign clean help" -l participant -d 'Who takes part; may be given several times' -r
complete -c quell -n "__fish_quell_using_subcommand drill; and not __fish_seen_subcommand_from list show run report history sign clean help" -l runbook -d 'Use another runbook than the drill\'s: a name, or a file' -r
complete -c quell -n "__fish_quell_using_subcommand drill; and not __fish_seen_subcommand_from list show run report history sign clean help" -l set -d 'One more input of the runbook' -r
complete -c quell -n "__fish_quell_using_subcommand drill; and not __fish_seen_subcommand_from list show run report history sign clean help" -l image -d 'On a real cluster: use this image for that of the scenario' -r
complete -c quell -n "__fish_quell_using_subcommand drill; and not __fish_seen_subcommand_from list show run report history sign clean help" -l i-know-this-is-not-production -d 'On a real cluster that is not marked for drills: its context, typed out' -r
complete -c quell -n "__fish_quell_using_subcommand drill; and not __fish_seen_subcommand_from list show run report history sign clean help" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand drill; and not __fish_seen_subcommand_from list show run report history sign clean help" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand drill; and not __fish_seen_subcommand_from list show run report history sign clean help" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand drill; and not __fish_seen_subcommand_from list show run report history sign clean help" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand drill; and not __fish_seen_subcommand_from list show run report history sign clean help" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand drill; and not __fish_seen_subcommand_from list show run report history sign clean help" -l auto -d 'Nobody is asked: every step is approved, the injects follow one another'
complete -c quell -n "__fish_quell_using_subcommand drill; and not __fish_seen_subcommand_from list show run report history sign clean help" -l facilitator -d 'Table-top: one inject at a time, with room for notes, and the discussion\'s questions at the end'
complete -c quell -n "__fish_quell_using_subcommand drill; and not __fish_seen_subcommand_from list show run report history sign clean help" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand drill; and not __fish_seen_subcommand_from list show run report history sign clean help" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand drill; and not __fish_seen_subcommand_from list show run report history sign clean help" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand drill; and not __fish_seen_subcommand_from list show run report history sign clean help" -a "list" -d 'List the drills'
complete -c quell -n "__fish_quell_using_subcommand drill; and not __fish_seen_subcommand_from list show run report history sign clean help" -a "show" -d 'Print a drill\'s scenario'
complete -c quell -n "__fish_quell_using_subcommand drill; and not __fish_seen_subcommand_from list show run report history sign clean help" -a "run" -d 'Run a drill (the same as `quell drill NAME`)'
complete -c quell -n "__fish_quell_using_subcommand drill; and not __fish_seen_subcommand_from list show run report history sign clean help" -a "report" -d 'Print or write the after-action report of a drill that was run'
complete -c quell -n "__fish_quell_using_subcommand drill; and not __fish_seen_subcommand_from list show run report history sign clean help" -a "history" -d 'Show the trend of the drills so far'
complete -c quell -n "__fish_quell_using_subcommand drill; and not __fish_seen_subcommand_from list show run report history sign clean help" -a "sign" -d 'Sign a drill\'s report'
complete -c quell -n "__fish_quell_using_subcommand drill; and not __fish_seen_subcommand_from list show run report history sign clean help" -a "clean" -d 'Remove what drills left on a real cluster (--context), also after a crash'
complete -c quell -n "__fish_quell_using_subcommand drill; and not __fish_seen_subcommand_from list show run report history sign clean help" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from list" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from list" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from list" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from list" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from list" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from list" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from show" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from show" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from show" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from show" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from show" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from show" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from run" -l seed -d 'What names, UIDs and addresses of the embedded cluster follow from' -r
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from run" -l speed -d 'How much faster than real; 20 with --auto, else 1' -r
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from run" -l participant -d 'Who takes part; may be given several times' -r
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from run" -l runbook -d 'Use another runbook than the drill\'s: a name, or a file' -r
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from run" -l set -d 'One more input of the runbook' -r
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from run" -l image -d 'On a real cluster: use this image for that of the scenario' -r
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from run" -l i-know-this-is-not-production -d 'On a real cluster that is not marked for drills: its context, typed out' -r
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from run" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from run" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from run" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from run" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from run" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from run" -l auto -d 'Nobody is asked: every step is approved, the injects follow one another'
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from run" -l facilitator -d 'Table-top: one inject at a time, with room for notes, and the discussion\'s questions at the end'
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from run" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from run" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from run" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from report" -s o -l output -d 'Write it there: .html or .md by its ending; else Markdown on standard output' -r -F
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from report" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from report" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from report" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from report" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from report" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from report" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from report" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from report" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from history" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from history" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from history" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from history" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from history" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from history" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from history" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from history" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from sign" -l who -d 'Who' -r
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from sign" -l role -d 'As what' -r
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from sign" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from sign" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from sign" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from sign" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from sign" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from sign" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from sign" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from sign" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from clean" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from clean" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from clean" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from clean" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from clean" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from clean" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from clean" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from clean" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the drills'
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "show" -d 'Print a drill\'s scenario'
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "run" -d 'Run a drill (the same as `quell drill NAME`)'
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "report" -d 'Print or write the after-action report of a drill that was run'
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "history" -d 'Show the trend of the drills so far'
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "sign" -d 'Sign a drill\'s report'
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "clean" -d 'Remove what drills left on a real cluster (--context), also after a crash'
complete -c quell -n "__fish_quell_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c quell -n "__fish_quell_using_subcommand sim; and not __fish_seen_subcommand_from serve help" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand sim; and not __fish_seen_subcommand_from serve help" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand sim; and not __fish_seen_subcommand_from serve help" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand sim; and not __fish_seen_subcommand_from serve help" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand sim; and not __fish_seen_subcommand_from serve help" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand sim; and not __fish_seen_subcommand_from serve help" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand sim; and not __fish_seen_subcommand_from serve help" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand sim; and not __fish_seen_subcommand_from serve help" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand sim; and not __fish_seen_subcommand_from serve help" -f -a "serve" -d 'Serve the embedded cluster until Ctrl-C, with a kubeconfig for kubectl and other clients'
complete -c quell -n "__fish_quell_using_subcommand sim; and not __fish_seen_subcommand_from serve help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c quell -n "__fish_quell_using_subcommand sim; and __fish_seen_subcommand_from serve" -l listen -d 'Where to listen' -r
complete -c quell -n "__fish_quell_using_subcommand sim; and __fish_seen_subcommand_from serve" -s o -l output -d 'Where the kubeconfig goes' -r -F
complete -c quell -n "__fish_quell_using_subcommand sim; and __fish_seen_subcommand_from serve" -l audit-log -d 'Write the audit log there' -r -F
complete -c quell -n "__fish_quell_using_subcommand sim; and __fish_seen_subcommand_from serve" -l nodes -d 'How many nodes' -r
complete -c quell -n "__fish_quell_using_subcommand sim; and __fish_seen_subcommand_from serve" -l speed -d 'How much faster than real its own waits are' -r
complete -c quell -n "__fish_quell_using_subcommand sim; and __fish_seen_subcommand_from serve" -l seed -d 'What names, UIDs and addresses follow from' -r
complete -c quell -n "__fish_quell_using_subcommand sim; and __fish_seen_subcommand_from serve" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand sim; and __fish_seen_subcommand_from serve" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand sim; and __fish_seen_subcommand_from serve" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand sim; and __fish_seen_subcommand_from serve" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand sim; and __fish_seen_subcommand_from serve" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand sim; and __fish_seen_subcommand_from serve" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand sim; and __fish_seen_subcommand_from serve" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand sim; and __fish_seen_subcommand_from serve" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand sim; and __fish_seen_subcommand_from help" -f -a "serve" -d 'Serve the embedded cluster until Ctrl-C, with a kubeconfig for kubectl and other clients'
complete -c quell -n "__fish_quell_using_subcommand sim; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c quell -n "__fish_quell_using_subcommand collector; and not __fish_seen_subcommand_from image help" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand collector; and not __fish_seen_subcommand_from image help" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand collector; and not __fish_seen_subcommand_from image help" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand collector; and not __fish_seen_subcommand_from image help" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand collector; and not __fish_seen_subcommand_from image help" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand collector; and not __fish_seen_subcommand_from image help" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand collector; and not __fish_seen_subcommand_from image help" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand collector; and not __fish_seen_subcommand_from image help" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand collector; and not __fish_seen_subcommand_from image help" -f -a "image" -d 'Make the collector\'s image, from quell\'s sources or from a static binary: as an archive (`ctr images import`, `docker load`, `crane push`, `skopeo copy`), or into a registry'
complete -c quell -n "__fish_quell_using_subcommand collector; and not __fish_seen_subcommand_from image help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c quell -n "__fish_quell_using_subcommand collector; and __fish_seen_subcommand_from image" -l source -d 'Where quell\'s sources are' -r -F
complete -c quell -n "__fish_quell_using_subcommand collector; and __fish_seen_subcommand_from image" -s o -l output -d 'The archive to write' -r -F
complete -c quell -n "__fish_quell_using_subcommand collector; and __fish_seen_subcommand_from image" -l name -d 'The image\'s name, with a tag [default: quell.dev/collector:VERSION]' -r
complete -c quell -n "__fish_quell_using_subcommand collector; and __fish_seen_subcommand_from image" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand collector; and __fish_seen_subcommand_from image" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand collector; and __fish_seen_subcommand_from image" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand collector; and __fish_seen_subcommand_from image" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand collector; and __fish_seen_subcommand_from image" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand collector; and __fish_seen_subcommand_from image" -l push -d 'Push it to the registry in --name, with the login of `docker login` or `podman login`'
complete -c quell -n "__fish_quell_using_subcommand collector; and __fish_seen_subcommand_from image" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand collector; and __fish_seen_subcommand_from image" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand collector; and __fish_seen_subcommand_from image" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand collector; and __fish_seen_subcommand_from help" -f -a "image" -d 'Make the collector\'s image, from quell\'s sources or from a static binary: as an archive (`ctr images import`, `docker load`, `crane push`, `skopeo copy`), or into a registry'
complete -c quell -n "__fish_quell_using_subcommand collector; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c quell -n "__fish_quell_using_subcommand completions" -l kubeconfig -d 'The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod\'s own service account' -r -F
complete -c quell -n "__fish_quell_using_subcommand completions" -l context -d 'The kubeconfig\'s context' -r
complete -c quell -n "__fish_quell_using_subcommand completions" -s n -l namespace -d 'The namespace in force' -r
complete -c quell -n "__fish_quell_using_subcommand completions" -l state-dir -d 'Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell' -r -F
complete -c quell -n "__fish_quell_using_subcommand completions" -l runbook-dir -d 'A directory with runbooks of your own; may be given several times' -r -F
complete -c quell -n "__fish_quell_using_subcommand completions" -l json -d 'JSON on standard output: one event a line from runs, one document from the rest'
complete -c quell -n "__fish_quell_using_subcommand completions" -s q -l quiet -d 'Only warnings, outcomes and the end'
complete -c quell -n "__fish_quell_using_subcommand completions" -s h -l help -d 'Print help'
complete -c quell -n "__fish_quell_using_subcommand help; and not __fish_seen_subcommand_from run plan resume undo incidents status bundle runbook action audit doctor drill sim collector completions help" -f -a "run" -d 'Run a runbook: plan, approve, act, seal the evidence'
complete -c quell -n "__fish_quell_using_subcommand help; and not __fish_seen_subcommand_from run plan resume undo incidents status bundle runbook action audit doctor drill sim collector completions help" -f -a "plan" -d 'Show what a run would do; reads only, changes nothing at all'
complete -c quell -n "__fish_quell_using_subcommand help; and not __fish_seen_subcommand_from run plan resume undo incidents status bundle runbook action audit doctor drill sim collector completions help" -f -a "resume" -d 'Go on with an incident after a crash, an interruption or a missing approval'
complete -c quell -n "__fish_quell_using_subcommand help; and not __fish_seen_subcommand_from run plan resume undo incidents status bundle runbook action audit doctor drill sim collector completions help" -f -a "undo" -d 'Take an incident\'s containment back, newest change first'
complete -c quell -n "__fish_quell_using_subcommand help; and not __fish_seen_subcommand_from run plan resume undo incidents status bundle runbook action audit doctor drill sim collector completions help" -f -a "incidents" -d 'List incidents'
complete -c quell -n "__fish_quell_using_subcommand help; and not __fish_seen_subcommand_from run plan resume undo incidents status bundle runbook action audit doctor drill sim collector completions help" -f -a "status" -d 'Show one incident: steps, what is open, artifacts'
complete -c quell -n "__fish_quell_using_subcommand help; and not __fish_seen_subcommand_from run plan resume undo incidents status bundle runbook action audit doctor drill sim collector completions help" -f -a "bundle" -d 'Seal evidence, and verify, list, show or extract it offline'
complete -c quell -n "__fish_quell_using_subcommand help; and not __fish_seen_subcommand_from run plan resume undo incidents status bundle runbook action audit doctor drill sim collector completions help" -f -a "runbook" -d 'Check, list, show and write runbooks, and print the rights they need'
complete -c quell -n "__fish_quell_using_subcommand help; and not __fish_seen_subcommand_from run plan resume undo incidents status bundle runbook action audit doctor drill sim collector completions help" -f -a "action" -d 'List and explain what steps can do'
complete -c quell -n "__fish_quell_using_subcommand help; and not __fish_seen_subcommand_from run plan resume undo incidents status bundle runbook action audit doctor drill sim collector completions help" -f -a "audit" -d 'Find who did what in the API server\'s audit log, and what can\'t be known from it'
complete -c quell -n "__fish_quell_using_subcommand help; and not __fish_seen_subcommand_from run plan resume undo incidents status bundle runbook action audit doctor drill sim collector completions help" -f -a "doctor" -d 'Look what this cluster, identity and namespace allow, before it is needed'
complete -c quell -n "__fish_quell_using_subcommand help; and not __fish_seen_subcommand_from run plan resume undo incidents status bundle runbook action audit doctor drill sim collector completions help" -f -a "drill" -d 'Practise: run a drill on the embedded cluster or a real one, score it, report it'
complete -c quell -n "__fish_quell_using_subcommand help; and not __fish_seen_subcommand_from run plan resume undo incidents status bundle runbook action audit doctor drill sim collector completions help" -f -a "sim" -d 'Serve the embedded cluster to kubectl and other clients'
complete -c quell -n "__fish_quell_using_subcommand help; and not __fish_seen_subcommand_from run plan resume undo incidents status bundle runbook action audit doctor drill sim collector completions help" -f -a "collector" -d 'Make the image of quell\'s collector'
complete -c quell -n "__fish_quell_using_subcommand help; and not __fish_seen_subcommand_from run plan resume undo incidents status bundle runbook action audit doctor drill sim collector completions help" -f -a "completions" -d 'Print a shell\'s completion script'
complete -c quell -n "__fish_quell_using_subcommand help; and not __fish_seen_subcommand_from run plan resume undo incidents status bundle runbook action audit doctor drill sim collector completions help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c quell -n "__fish_quell_using_subcommand help; and __fish_seen_subcommand_from bundle" -f -a "seal" -d 'Seal an incident\'s journal and artifacts into one tar: the same incident seals to the same bytes'
complete -c quell -n "__fish_quell_using_subcommand help; and __fish_seen_subcommand_from bundle" -f -a "verify" -d 'Check a bundle offline: name what was changed, added, removed, reordered or truncated'
complete -c quell -n "__fish_quell_using_subcommand help; and __fish_seen_subcommand_from bundle" -f -a "list" -d 'List a bundle\'s artifacts'
complete -c quell -n "__fish_quell_using_subcommand help; and __fish_seen_subcommand_from bundle" -f -a "show" -d 'Write one member of a bundle to standard output'
complete -c quell -n "__fish_quell_using_subcommand help; and __fish_seen_subcommand_from bundle" -f -a "extract" -d 'Unpack a bundle into a new directory: no links, no devices, nothing outside it'
complete -c quell -n "__fish_quell_using_subcommand help; and __fish_seen_subcommand_from runbook" -f -a "check" -d 'Report every problem of a runbook at once, with place and suggestion'
complete -c quell -n "__fish_quell_using_subcommand help; and __fish_seen_subcommand_from runbook" -f -a "schema" -d 'Print the JSON Schema that editors use (yaml-language-server)'
complete -c quell -n "__fish_quell_using_subcommand help; and __fish_seen_subcommand_from runbook" -f -a "list" -d 'List the runbooks at hand'
complete -c quell -n "__fish_quell_using_subcommand help; and __fish_seen_subcommand_from runbook" -f -a "show" -d 'Show a runbook: when to use it, inputs, steps'
complete -c quell -n "__fish_quell_using_subcommand help; and __fish_seen_subcommand_from runbook" -f -a "new" -d 'Print the skeleton of a new runbook'
complete -c quell -n "__fish_quell_using_subcommand help; and __fish_seen_subcommand_from runbook" -f -a "rbac" -d 'Print the smallest ClusterRole and Role that a runbook needs'
complete -c quell -n "__fish_quell_using_subcommand help; and __fish_seen_subcommand_from action" -f -a "list" -d 'List all actions'
complete -c quell -n "__fish_quell_using_subcommand help; and __fish_seen_subcommand_from action" -f -a "explain" -d 'One action: parameters, rights, outputs, undo, an example'
complete -c quell -n "__fish_quell_using_subcommand help; and __fish_seen_subcommand_from audit" -f -a "diff" -d 'What an identity did in one time that it never did in another'
complete -c quell -n "__fish_quell_using_subcommand help; and __fish_seen_subcommand_from audit" -f -a "graph" -d 'Who reached a Secret, or what an identity reached, and through whom'
complete -c quell -n "__fish_quell_using_subcommand help; and __fish_seen_subcommand_from audit" -f -a "show" -d 'The original of an event, by the file and byte that an answer names'
complete -c quell -n "__fish_quell_using_subcommand help; and __fish_seen_subcommand_from drill" -f -a "list" -d 'List the drills'
complete -c quell -n "__fish_quell_using_subcommand help; and __fish_seen_subcommand_from drill" -f -a "show" -d 'Print a drill\'s scenario'
complete -c quell -n "__fish_quell_using_subcommand help; and __fish_seen_subcommand_from drill" -f -a "run" -d 'Run a drill (the same as `quell drill NAME`)'
complete -c quell -n "__fish_quell_using_subcommand help; and __fish_seen_subcommand_from drill" -f -a "report" -d 'Print or write the after-action report of a drill that was run'
complete -c quell -n "__fish_quell_using_subcommand help; and __fish_seen_subcommand_from drill" -f -a "history" -d 'Show the trend of the drills so far'
complete -c quell -n "__fish_quell_using_subcommand help; and __fish_seen_subcommand_from drill" -f -a "sign" -d 'Sign a drill\'s report'
complete -c quell -n "__fish_quell_using_subcommand help; and __fish_seen_subcommand_from drill" -f -a "clean" -d 'Remove what drills left on a real cluster (--context), also after a crash'
complete -c quell -n "__fish_quell_using_subcommand help; and __fish_seen_subcommand_from sim" -f -a "serve" -d 'Serve the embedded cluster until Ctrl-C, with a kubeconfig for kubectl and other clients'
complete -c quell -n "__fish_quell_using_subcommand help; and __fish_seen_subcommand_from collector" -f -a "image" -d 'Make the collector\'s image, from quell\'s sources or from a static binary: as an archive (`ctr images import`, `docker load`, `crane push`, `skopeo copy`), or into a registry'
