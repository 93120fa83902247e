-- Lists of a project's devices: pages by name, and counts from indexes.
CREATE INDEX devices_named ON devices(project, name, id);
CREATE INDEX devices_presence ON devices(project, online, absent_until, absent_from);
CREATE INDEX devices_secret ON devices(project, secret, id);
CREATE INDEX devices_quarantined ON devices(project, id) WHERE replace(firmware, '"state":"quarantined"', '') <> firmware;
