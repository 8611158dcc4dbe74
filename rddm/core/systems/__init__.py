"""What can be done with an entity: functions over any entity that has the parts they need."""
